"""Routes and answers of the search of similar cases: what a user may not see is in no field and no number of them."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Self

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.types import ResponseDict
from pydantic import BaseModel, ConfigDict, Field

from airouter.services.gallery import Entry
from airouter.services.similar import Case, NotSearchable, Similar
from airouter.web.problems import problem
from airouter.web.routes import FAILURES
from airouter.web.schemas import ErrorView, Name
from airouter.web.services import WebServices

_NOT_FOUND: ResponseDict = {HTTPStatus.NOT_FOUND: ErrorView}
_JPEG = {"description": "JPEG", "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}
_KNOWN = "Known are slides that a route with the pipeline similar-cases has analysed, as far as you may see them."


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SlidePath(BaseModel):
    series_uid: Annotated[str, Field(pattern=r"^[0-9][0-9.]{0,63}$", description="Series Instance UID of a slide")]


class SimilarQuery(_Input):
    limit: Annotated[int, Field(ge=1, le=100, description="At most so many cases")] = 10
    regions: Annotated[int, Field(ge=0, le=16, description="So many pairs of like regions for each case")] = 3
    region: Annotated[int | None, Field(ge=1, description="Compare this region of the slide, not all of it")] = None
    model: Name | None = None


class ThumbnailPath(BaseModel):
    job: Annotated[str, Field(pattern=r"^[0-9A-Za-z]{1,64}$", description="Job key")]
    region: Annotated[int, Field(ge=0, description="Number of the region, 0: the whole slide")]


class ThumbnailQuery(_Input):
    size: Annotated[int, Field(ge=32, le=1024, description="Longer side in pixels, at most")] = 256


class RegionView(BaseModel):
    """A field that stands for a part of the tissue (`share`, 0..1)."""

    region: int
    share: float
    thumbnail: str


class SlideView(BaseModel):
    """The slide that was asked about. `acquired`: digits YYYYMMDDHHMMSS as far as the header says."""

    study: str
    series: str
    model: str
    acquired: str | None
    thumbnail: str
    regions: list[RegionView]

    @classmethod
    def of(cls, entry: Entry) -> Self:
        return cls(
            study=entry.study_uid,
            series=entry.series_uid,
            model=entry.model,
            acquired=entry.taken or None,
            thumbnail=_link(entry, 0),
            regions=[
                RegionView(region=n, share=share, thumbnail=_link(entry, n))
                for n, share in enumerate(entry.shares, start=1)
            ],
        )


class MatchView(BaseModel):
    """A region of the slide and one of the case that look alike."""

    region: int
    case_region: int
    similarity: float
    thumbnail: str
    case_thumbnail: str


class CaseView(BaseModel):
    """An earlier case by its most similar slide. `similarity`: cosine, -1..1; `region`: of the case, where one was
    asked for."""

    study: str
    series: str
    acquired: str | None
    similarity: float
    region: int | None
    same_patient: bool
    thumbnail: str
    matches: list[MatchView]

    @classmethod
    def of(cls, case: Case, own: Entry) -> Self:
        return cls(
            study=case.entry.study_uid,
            series=case.entry.series_uid,
            acquired=case.entry.taken or None,
            similarity=case.similarity,
            region=case.region,
            same_patient=case.same_patient,
            thumbnail=_link(case.entry, case.region or 0),
            matches=[
                MatchView(
                    region=pair.own,
                    case_region=pair.other,
                    similarity=pair.similarity,
                    thumbnail=_link(own, pair.own),
                    case_thumbnail=_link(case.entry, pair.other),
                )
                for pair in case.pairs
            ],
        )


class SimilarView(BaseModel):
    """Earlier cases that the asking user may see, the most similar first."""

    slide: SlideView
    cases: list[CaseView]

    @classmethod
    def of(cls, found: Similar) -> Self:
        return cls(slide=SlideView.of(found.entry), cases=[CaseView.of(case, found.entry) for case in found.cases])


def _link(entry: Entry, region: int) -> str:
    return f"/ai/similar/thumbnails/{entry.job}/{region}"


def similar_routes(services: WebServices) -> APIBlueprint:
    """The routes below /ai/similar, bound to these services."""
    api = APIBlueprint("similar", __name__, url_prefix="/ai/similar", abp_responses=FAILURES)

    def unavailable() -> Response:
        health = services.health()
        reason = f"the router is {health.state}" + (f": {health.reason}" if health.reason else "")
        return problem(503, reason, "See GET /ai/health; correct what it names and restart Orthanc.")

    @api.get(
        "/<string:series_uid>",
        summary="Earlier cases like a slide, as far as the user may see them",
        responses={HTTPStatus.OK: SimilarView, HTTPStatus.CONFLICT: ErrorView, **_NOT_FOUND},
    )
    def similar(path: SlidePath, query: SimilarQuery) -> Response:
        cases = services.similar()
        if cases is None:
            return unavailable()
        found = cases.find(
            path.series_uid,
            _headers(),
            limit=query.limit,
            pairs=query.regions,
            region=query.region,
            model=query.model,
        )
        if found is None:
            return problem(404, "no such slide", _KNOWN)
        if isinstance(found, NotSearchable):
            return problem(409, found.reason, "GET /ai/jobs tells how the jobs of the study stand.")
        return Response(SimilarView.of(found).model_dump_json(), mimetype="application/json")

    @api.get(
        "/thumbnails/<string:job>/<int:region>",
        summary="A region of a slide, or all of it, as a small picture",
        responses={HTTPStatus.OK: _JPEG, **_NOT_FOUND},
    )
    def thumbnail(path: ThumbnailPath, query: ThumbnailQuery) -> Response:
        cases = services.similar()
        if cases is None:
            return unavailable()
        picture = cases.thumbnail(path.job, path.region, _headers(), query.size)
        if picture is None:
            return problem(404, "no such picture", _KNOWN)
        return Response(picture, mimetype="image/jpeg")

    return api


def _headers() -> Mapping[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}
