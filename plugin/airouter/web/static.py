"""The files of our own pages: scripts, styles and small pages, served as they lie in the package.

They carry no patient data, so a browser may keep them; it asks each time whether they still hold (ETag), so that an
upgraded plugin never meets the scripts of the old one.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.types import ResponseDict
from pydantic import BaseModel, Field

from airouter.web.problems import problem
from airouter.web.schemas import ErrorView

FOLDER: Final = Path(__file__).resolve().parent / "static"

# What may be served from there; a page is not in it, since each has a route of its own.
_TYPES: Final = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
_FILE: ResponseDict = {
    200: {"description": "The file", "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}},
    304: {"description": "The file that the browser has is the current one"},
    404: ErrorView,
}


class StaticPath(BaseModel):
    path: Annotated[str, Field(max_length=200, description="Path of the file below the static folder")]


@lru_cache(maxsize=256)
def _read(path: Path, changed: int, size: int) -> tuple[bytes, str]:
    """Content and tag of a file; `changed` and `size` make a changed file another entry."""
    data = path.read_bytes()
    return data, hashlib.sha256(data).hexdigest()[:32]


def _file(name: str) -> Path | None:
    """The file of that name within the folder, None where there is none: nothing outside is ever opened."""
    if "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        return None
    path = (FOLDER / name).resolve()
    return path if path.is_relative_to(FOLDER) and path.is_file() else None


def _answer(path: Path, mimetype: str) -> Response:
    stat = path.stat()
    data, tag = _read(path, stat.st_mtime_ns, stat.st_size)
    response = Response(data, mimetype=mimetype)
    response.set_etag(tag)
    response.headers["Cache-Control"] = "no-cache"
    response.make_conditional(request.environ)
    return response


def page(name: str) -> Response:
    """A page of ours, by the name of its file. Raises FileNotFoundError where the package lacks it."""
    path = _file(name)
    if path is None:
        raise FileNotFoundError(name)
    return _answer(path, "text/html")


def static_routes() -> APIBlueprint:
    """The route of the files."""
    api = APIBlueprint("static_files", __name__, url_prefix="/ai")

    @api.get("/static/<path:path>", summary="A file of the pages", responses=_FILE)
    def static_file(path: StaticPath) -> Response:
        file = _file(path.path)
        mimetype = _TYPES.get(file.suffix) if file else None
        if file is None or mimetype is None:
            return problem(404, "no such file", "Open /ai/, the worklist.")
        return _answer(file, mimetype)

    return api
