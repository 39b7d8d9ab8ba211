"""The viewer: OHIF as scripts/ohif made it, served below /ohif/ with a policy of its own.

Whatever path is none of its files is a page of the viewer itself (/ohif/viewer, /ohif/microscopy) and gets index.html.
Files stand under the digest of the script that patched them, so that they may be kept for ever; what has a fixed
address is asked for anew each time (ETag).
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Self

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.types import ResponseDict
from pydantic import BaseModel, Field

from airouter.web.problems import problem
from airouter.web.schemas import ErrorView
from airouter.web.services import Viewer

MANIFEST: Final = "airouter.json"  # of scripts/ohif_patch.py
CONFIGURATION: Final = Path(__file__).resolve().parent / "static" / "ohif" / "app-config.js"
INSTALL: Final = "Run scripts/ohif in the router's checkout, or correct AIRouter.ViewerDirectory."

_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webapp": "application/manifest+json",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
}
_FOR_EVER: Final = "private, max-age=31536000, immutable"
_ASK: Final = "no-cache"
_PAGE: ResponseDict = {
    200: {"description": "A page or file", "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}},
    304: {"description": "What the browser has is current"},
    404: ErrorView,
    503: ErrorView,
}


@dataclass(frozen=True, slots=True)
class OhifFolder:
    """A folder that scripts/ohif made. `precompressed`: Orthanc does not compress, so its .gz files may be sent."""

    folder: Path
    version: str
    digest: str
    policy: str
    precompressed: bool

    @classmethod
    def of(cls, folder: Path, *, precompressed: bool) -> Self | None:
        """None where there is no viewer in the folder."""
        folder = folder.resolve()  # it leads to one version; the next may be put in its place meanwhile
        try:
            about = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            inline = [str(each) for each in about["inline"]]
            return cls(folder, str(about["version"]), str(about["digest"]), _policy(inline), precompressed)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def file(self, name: str) -> Path | None:
        """The file of that name, None where there is none: nothing outside the folder is ever opened."""
        if "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
            return None
        path = (self.folder / name).resolve()
        return path if path.suffix in _TYPES and path.is_relative_to(self.folder) and path.is_file() else None


def _policy(inline: list[str]) -> str:
    """What OHIF needs and no more: its inline scripts by hash, workers, styles made by scripts, and functions made from
    text (by ndarray, which segmentations are read with, and by the bindings of the image codecs).

    Nothing comes from another host: a viewer that loads from elsewhere would tell it who looks at what.
    """
    scripts = " ".join(f"'{each}'" for each in inline)
    return (
        f"default-src 'none'; script-src 'self' {scripts} 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
        "manifest-src 'self'; frame-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
    )


class ViewerPath(BaseModel):
    path: Annotated[str, Field(max_length=400, description="Page or file of the viewer")]


def ohif_routes(viewer: Callable[[], Viewer | None]) -> APIBlueprint:
    """The routes; `viewer` is asked at each request, for it may be installed later."""
    api = APIBlueprint("ohif", __name__, url_prefix="/ohif")

    def answer(path: str) -> Response:
        there = viewer()
        if there is None:
            return problem(503, "the viewer is not installed", INSTALL)
        if path == "app-config.js":
            return _file(there, CONFIGURATION, _ASK)
        if path.startswith(f"{there.digest}/"):
            file = there.file(path.removeprefix(f"{there.digest}/"))
            if file is None:
                return problem(404, "the viewer has no such file", "Open /ohif/, the list of studies.")
            return _file(there, file, _FOR_EVER)
        if "." in path.rpartition("/")[2]:  # of an earlier version, or somebody guesses
            return problem(404, "the viewer has no such file", "Load the page again.")
        page = there.file("index.html")
        return problem(503, "the viewer is incomplete", INSTALL) if page is None else _file(there, page, _ASK)

    @api.get("/", summary="The viewer's list of studies", responses=_PAGE)
    def studies() -> Response:
        return answer("")

    @api.get("/<path:path>", summary="A page or file of the viewer", responses=_PAGE)
    def page(path: ViewerPath) -> Response:
        return answer(path.path)

    return api


def _file(viewer: Viewer, path: Path, caching: str) -> Response:
    packed = path.with_name(path.name + ".gz")
    small = viewer.precompressed and request.accept_encodings.quality("gzip") > 0 and packed.is_file()
    served = packed if small else path
    stat = served.stat()
    response = Response(served.read_bytes(), mimetype=_TYPES[path.suffix])
    response.set_etag(_tag(served, stat.st_mtime_ns, stat.st_size))
    response.headers["Cache-Control"] = caching
    response.headers["Content-Security-Policy"] = viewer.policy
    response.headers["Vary"] = "Accept-Encoding"
    if small:
        response.headers["Content-Encoding"] = "gzip"
    response.make_conditional(request.environ)
    return response


@lru_cache(maxsize=1024)
def _tag(path: Path, changed: int, size: int) -> str:
    """`changed` and `size` make a changed file another entry."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]
