"""DICOMweb for the viewer at /ai/dicom-web: what Orthanc's own DICOMweb plugin of Debian 12 cannot give it.

Searches are Orthanc's, repaired. Headers keep their arrays whole, frames are the stored bytes and never transcoded, and
no file is read whole for one of its frames. Nothing here writes.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final
from uuid import uuid4

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.types import ResponseDict
from pydantic import BaseModel, Field

from airouter.errors import PixelDataError
from airouter.services.dicom_web import Address
from airouter.web.problems import problem
from airouter.web.routes import FAILURES
from airouter.web.schemas import ErrorView
from airouter.web.services import WebServices

ROOT: Final = "/ai/dicom-web"
MOST_FRAMES: Final = 128  # of one request
_JSON: Final = "application/dicom+json"
# PS3.18 table 8.7.3-5; what is not there is a stream of bytes.
_MEDIA: Final = {
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}
_BULK_PATH: Final = re.compile(r"([0-9A-F]{8}/[1-9][0-9]{0,6}/){0,8}[0-9A-F]{8}")
_NUMBERS: Final = re.compile(r"[0-9]{1,9}(,[0-9]{1,9})*")

_LIST: ResponseDict = {200: {"description": "DICOM JSON", "content": {_JSON: {"schema": {"type": "array"}}}}}
_PARTS: ResponseDict = {
    200: {
        "description": "One part each",
        "content": {"multipart/related": {"schema": {"type": "string", "format": "binary"}}},
    },
    404: ErrorView,
}

_Uid = Annotated[str, Field(pattern=r"^[0-9.]{1,64}$", description="DICOM UID")]


class StudyPath(BaseModel):
    study: _Uid


class SeriesPath(StudyPath):
    series: _Uid


class InstancePath(SeriesPath):
    instance: _Uid


class FramesPath(InstancePath):
    numbers: Annotated[str, Field(max_length=2000, description="Frame numbers from 1, with commas between")]


class BulkPath(InstancePath):
    path: Annotated[str, Field(max_length=200, description="Tag, with sequence items before it")]


def dicom_web_routes(services: WebServices) -> APIBlueprint:
    """The routes, bound to these services."""
    api = APIBlueprint("dicom_web", __name__, url_prefix=ROOT, abp_responses=FAILURES)

    def search(path: str) -> Response:
        images = services.dicom_web()
        if images is None:
            return _unavailable(services)
        found = images.query(path, request.args, _headers())
        if found is None:
            return _absent("no such study")
        return Response(json.dumps(found), mimetype=_JSON)

    def metadata(address: Address) -> Response:
        images = services.dicom_web()
        if images is None:
            return _unavailable(services)
        try:
            found = images.metadata(address, ROOT, _headers())
        except PixelDataError as error:
            return _damaged(error)
        return _absent("no such object") if found is None else Response(found, mimetype=_JSON)

    @api.get("/studies", summary="Search studies (QIDO-RS)", responses=_LIST)
    def studies() -> Response:
        return search("/studies")

    @api.get("/studies/<string:study>/series", summary="Search the series of a study", responses=_LIST)
    def series(path: StudyPath) -> Response:
        return search(f"/studies/{path.study}/series")

    @api.get("/studies/<string:study>/instances", summary="Search the instances of a study", responses=_LIST)
    def instances(path: StudyPath) -> Response:
        return search(f"/studies/{path.study}/instances")

    @api.get(
        "/studies/<string:study>/series/<string:series>/instances",
        summary="Search the instances of a series",
        responses=_LIST,
    )
    def instances_of_series(path: SeriesPath) -> Response:
        return search(f"/studies/{path.study}/series/{path.series}/instances")

    @api.get("/studies/<string:study>/metadata", summary="Headers of a study (WADO-RS)", responses=_LIST)
    def study_metadata(path: StudyPath) -> Response:
        return metadata(Address(path.study))

    @api.get("/studies/<string:study>/series/<string:series>/metadata", summary="Headers of a series", responses=_LIST)
    def series_metadata(path: SeriesPath) -> Response:
        return metadata(Address(path.study, path.series))

    one = "/studies/<string:study>/series/<string:series>/instances/<string:instance>"

    @api.get(f"{one}/metadata", summary="Header of an instance", responses=_LIST)
    def instance_metadata(path: InstancePath) -> Response:
        return metadata(_of(path))

    @api.get(f"{one}/frames/<string:numbers>", summary="Frames as they are stored", responses=_PARTS)
    def frames(path: FramesPath) -> Response:
        images = services.dicom_web()
        if images is None:
            return _unavailable(services)
        numbers = [int(n) for n in path.numbers.split(",")] if _NUMBERS.fullmatch(path.numbers) else []
        if not 0 < len(numbers) <= MOST_FRAMES:
            return problem(422, f"not 1 to {MOST_FRAMES} frame numbers", "Write them as 1,2,3.")
        try:
            found = images.frames(_of(path), numbers, _headers())
        except PixelDataError as error:
            return _damaged(error)
        if found is None:
            return _absent("no such frame")
        media = _MEDIA.get(found.transfer_syntax, "application/octet-stream")
        return _multipart(found.frames, f"{media}; transfer-syntax={found.transfer_syntax}")

    @api.get(f"{one}/bulk/<path:path>", summary="A long value of a header", responses=_PARTS)
    def bulk(path: BulkPath) -> Response:
        images = services.dicom_web()
        if images is None:
            return _unavailable(services)
        if not _BULK_PATH.fullmatch(path.path):
            return problem(422, "no address of a value", "Take addresses from the metadata.")
        value = images.bulk(_of(path), path.path, _headers())
        if value is None:
            return _absent("no such value")
        if "multipart/related" in request.headers.get("Accept", ""):
            return _multipart([value], "application/octet-stream")
        return Response(value, mimetype="application/octet-stream")

    @api.get(one, summary="An instance as a DICOM file", responses=_PARTS)
    def instance(path: InstancePath) -> Response:
        images = services.dicom_web()
        if images is None:
            return _unavailable(services)
        found = images.part10(_of(path), _headers())
        if found is None:
            return _absent("no such instance")
        if isinstance(found, int):
            return problem(413, f"the instance has {found} bytes", "Read its frames, or take it from Orthanc itself.")
        return _multipart([found], "application/dicom")

    return api


def _of(path: InstancePath) -> Address:
    return Address(path.study, path.series, path.instance)


def _multipart(parts: Sequence[bytes], media: str) -> Response:
    """PS3.18 8.6.1.2.1: one part each, under a boundary that is in none of them."""
    boundary = uuid4().hex.encode()
    pieces = []
    for part in parts:
        pieces += [b"--", boundary, b"\r\nContent-Type: ", media.encode(), b"\r\nContent-Length: "]
        pieces += [str(len(part)).encode(), b"\r\n\r\n", part, b"\r\n"]
    pieces += [b"--", boundary, b"--\r\n"]
    kind = media.partition(";")[0]
    return Response(b"".join(pieces), content_type=f'multipart/related; type="{kind}"; boundary={boundary.decode()}')


def _headers() -> Mapping[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


def _absent(what: str) -> Response:
    return problem(404, what, "Search again: it may have been deleted, or is not for this user to see.")


def _damaged(error: PixelDataError) -> Response:
    return problem(500, f"the stored object cannot be read: {error}", "Send it to the archive again.")


def _unavailable(services: WebServices) -> Response:
    health: Any = services.health()
    reason = f"the router is {health.state}" + (f": {health.reason}" if health.reason else "")
    return problem(503, reason, "See GET /ai/health; correct what it names and restart Orthanc.")
