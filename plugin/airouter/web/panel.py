"""The reading panel: its page, and the pictures that it shows of what the viewer cannot draw."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Final, Self
from urllib.parse import quote

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.types import ResponseDict
from pydantic import BaseModel, ConfigDict, Field

from airouter.domain.picture import Chart
from airouter.domain.study import Modality
from airouter.errors import RequestError
from airouter.imaging.crop import Box
from airouter.services.object_pictures import Kind, SeriesImages, Shown
from airouter.web.access import person
from airouter.web.problems import problem
from airouter.web.routes import FAILURES
from airouter.web.schemas import ErrorView, StudyPath
from airouter.web.services import WebServices
from airouter.web.static import page
from airouter.web.worklist_schemas import WorklistItem

_UID: Final = r"^[0-9][0-9.]{0,63}$"
_NOT_FOUND: ResponseDict = {HTTPStatus.NOT_FOUND: ErrorView}
_HTML: ResponseDict = {
    HTTPStatus.OK: {"description": "The page", "content": {"text/html": {"schema": {"type": "string"}}}}
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_PICTURE: ResponseDict = {
    HTTPStatus.OK: {"description": "The picture", "content": {"image/png": _BINARY, "image/jpeg": _BINARY}},
    **_NOT_FOUND,
}


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PanelQuery(_Input):
    study: Annotated[str, Field(pattern=_UID, description="Study Instance UID")]
    embedded: Annotated[bool, Field(description="Within the viewer: no way back, messages to the viewer")] = False


class ObjectPath(StudyPath):
    sop: Annotated[str, Field(pattern=_UID, description="SOP Instance UID")]


class PictureQuery(_Input):
    frame: Annotated[int, Field(ge=1, description="Of an image: this frame")] = 1
    box: Annotated[
        str | None,
        Field(pattern=r"^-?\d{1,7}(,-?\d{1,7}){3}$", description="Of an image: left,top,right,bottom in its pixels"),
    ] = None
    side: Annotated[int, Field(ge=64, le=1600, description="Of an image: longer side in pixels, at most")] = 1024


class PictureView(BaseModel):
    """Something to look at. `text` says what is in it for whoever does not see it; `object`: SOP Instance UID."""

    job: str
    kind: Kind
    role: str
    title: str
    text: str
    object: str | None
    url: str

    @classmethod
    def of(cls, shown: Shown, study: str) -> Self:
        chart = shown.chart
        where = (
            f"/ai/jobs/{shown.job}/charts/{quote(shown.role, safe='')}/svg"
            if shown.uid is None
            else f"/ai/studies/{study}/objects/{shown.uid}/picture"
        )
        title = chart.title if chart is not None else _TITLES[shown.kind].format(_words(shown.role))
        return cls(
            job=shown.job,
            kind=shown.kind,
            role=shown.role,
            title=title,
            text=_said(chart) if chart is not None else title,
            object=shown.uid,
            url=where,
        )


_TITLES: Mapping[Kind, str] = {
    Kind.CHART: "{}",
    Kind.MAP: "Map: {}",
    Kind.PICTURE: "Picture: {}",
    Kind.FIELD: "Visual field as measured",
}


class PicturesView(BaseModel):
    study: str
    pictures: list[PictureView]

    @classmethod
    def of(cls, study: str, found: Sequence[Shown]) -> Self:
        return cls(study=study, pictures=[PictureView.of(shown, study) for shown in found])


class ImageView(BaseModel):
    """An image by its SOP Instance UID; a level of a slide by its total pixel matrix."""

    object: str
    rows: int
    columns: int


class SeriesView(BaseModel):
    """A series of images, with the words of its header that tell it from others."""

    series: str
    modality: Modality
    label: str
    images: list[ImageView]

    @classmethod
    def of(cls, found: SeriesImages) -> Self:
        images = [ImageView(object=i.uid, rows=i.rows, columns=i.columns) for i in found.images]
        return cls(series=found.uid, modality=found.modality, label=found.label, images=images)


class ImagesView(BaseModel):
    study: str
    series: list[SeriesView]

    @classmethod
    def of(cls, study: str, found: Sequence[SeriesImages]) -> Self:
        return cls(study=study, series=[SeriesView.of(series) for series in found])


def _words(role: str) -> str:
    return role.replace("-", " ")


def _said(chart: Chart) -> str:
    """A chart in words: each curve by its ends."""
    curves = [
        f"{t.label}: {t.kind}, from {t.x[0]:.4g} to {t.x[-1]:.4g} {chart.x_label}, {t.y[0]:.3g} to {t.y[-1]:.3g}"
        f" {chart.y_label}"
        for t in chart.traces
    ]
    return ". ".join([chart.title, *curves, *chart.notes])


def panel_routes(services: WebServices) -> APIBlueprint:
    """The routes, bound to these services."""
    api = APIBlueprint("panel", __name__, url_prefix="/ai", abp_responses=FAILURES)

    def unavailable() -> Response:
        return problem(503, "the router is not running", "See GET /ai/health; correct what it names.")

    @api.get("/panel", summary="The page to review a study's findings on", responses=_HTML)
    def panel(query: PanelQuery) -> Response:
        return page("panel.html")

    @api.get(
        "/worklist/<string:uid>",
        summary="One study of the worklist",
        responses={HTTPStatus.OK: WorklistItem, **_NOT_FOUND},
    )
    def study(path: StudyPath) -> Response:
        room = services.readings()
        if room is None:
            return unavailable()
        entry = room.entry(path.uid)
        if entry is None:
            return problem(404, "no such study on the worklist", "GET /ai/worklist?status=any lists every study.")
        view = WorklistItem.of(entry, person(), datetime.now(UTC))
        return Response(view.model_dump_json(), mimetype="application/json")

    @api.get(
        "/studies/<string:uid>/pictures",
        summary="Charts, maps, pictures and visual fields of a study's results",
        responses={HTTPStatus.OK: PicturesView},
    )
    def pictures(path: StudyPath) -> Response:
        drawing = services.pictures()
        if drawing is None:
            return unavailable()
        view = PicturesView.of(path.uid, drawing.listed(path.uid))
        return Response(view.model_dump_json(), mimetype="application/json")

    @api.get(
        "/studies/<string:uid>/images",
        summary="The series of images of a study that the router reads",
        responses={HTTPStatus.OK: ImagesView},
    )
    def images(path: StudyPath) -> Response:
        drawing = services.pictures()
        if drawing is None:
            return unavailable()
        view = ImagesView.of(path.uid, drawing.images(path.uid, _headers()))
        return Response(view.model_dump_json(), mimetype="application/json")

    @api.get("/studies/<string:uid>/objects/<string:sop>/picture", summary="An object as a picture", responses=_PICTURE)
    def picture(path: ObjectPath, query: PictureQuery) -> Response:
        drawing = services.pictures()
        if drawing is None:
            return unavailable()
        drawn = drawing.picture(path.uid, path.sop, _headers(), frame=query.frame, box=_box(query.box), side=query.side)
        if drawn is None:
            return problem(404, "no such object", "GET /ai/studies/{uid}/pictures lists what can be drawn.")
        return Response(drawn.data, mimetype=drawn.mimetype)

    return api


def _headers() -> Mapping[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


def _box(text: str | None) -> Box | None:
    if text is None:
        return None
    left, top, right, bottom = (int(part) for part in text.split(","))
    if right - left > 1 << 20 or bottom - top > 1 << 20:
        raise RequestError("the box is larger than a million pixels")
    return Box(left, top, right, bottom)
