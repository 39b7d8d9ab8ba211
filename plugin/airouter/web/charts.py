"""Charts of results: their numbers, and drawn as SVG."""

from http import HTTPStatus
from typing import Annotated, Self

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.types import ResponseDict
from pydantic import BaseModel, Field

from airouter.domain.picture import Chart
from airouter.evidence.chart import svg
from airouter.web.problems import problem
from airouter.web.routes import FAILURES
from airouter.web.schemas import ErrorView, JobPath
from airouter.web.services import WebServices

_ADVICE = "GET /ai/jobs/{key}/charts lists those of a job."
_NOT_FOUND: ResponseDict = {HTTPStatus.NOT_FOUND: ErrorView}
_SVG: ResponseDict = {
    HTTPStatus.OK: {"description": "The chart", "content": {"image/svg+xml": {"schema": {"type": "string"}}}},
    **_NOT_FOUND,
}  # fmt: skip


class ChartPath(JobPath):
    role: Annotated[str, Field(description="Role of the chart within the job's result")]


class TraceView(BaseModel):
    """One curve: `points`, a `line`, or a `band` between `y` and `upper`."""

    label: str
    kind: str
    x: list[float]
    y: list[float]
    upper: list[float]


class ChartView(BaseModel):
    role: str
    label: str
    title: str
    x_label: str
    y_label: str
    traces: list[TraceView]
    notes: list[str]

    @classmethod
    def of(cls, chart: Chart) -> Self:
        return cls(
            role=chart.role,
            label=chart.label,
            title=chart.title,
            x_label=chart.x_label,
            y_label=chart.y_label,
            traces=[
                TraceView(label=t.label, kind=t.kind, x=list(t.x), y=list(t.y), upper=list(t.upper))
                for t in chart.traces
            ],
            notes=list(chart.notes),
        )


class ChartsView(BaseModel):
    job: str
    charts: list[ChartView]


def chart_routes(services: WebServices) -> APIBlueprint:
    """The routes, bound to these services."""
    api = APIBlueprint("charts", __name__, url_prefix="/ai", abp_responses=FAILURES)

    def unavailable() -> Response:
        return problem(503, "the router is not running", "See GET /ai/health; correct what it names.")

    @api.get(
        "/jobs/<string:key>/charts", summary="Charts of one result", responses={HTTPStatus.OK: ChartsView, **_NOT_FOUND}
    )
    def charts(path: JobPath) -> Response:
        journal = services.journal()
        if journal is None:
            return unavailable()
        if journal.job(path.key) is None:
            return problem(404, "no such job", "GET /ai/jobs lists the jobs.")
        view = ChartsView(job=path.key, charts=[ChartView.of(chart) for chart in journal.charts(path.key)])
        return Response(view.model_dump_json(), mimetype="application/json")

    @api.get("/jobs/<string:key>/charts/<string:role>/svg", summary="One chart as SVG", responses=_SVG)
    def drawn(path: ChartPath) -> Response:
        journal = services.journal()
        if journal is None:
            return unavailable()
        chart = next((c for c in journal.charts(path.key) if c.role == path.role), None)
        if chart is None:
            return problem(404, "the job has no such chart", _ADVICE)
        return Response(svg(chart), mimetype="image/svg+xml")

    return api
