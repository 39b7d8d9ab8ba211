"""Which requests show a study to a person. Called on Orthanc's HTTP threads: patterns and nothing else."""

import re
from typing import Final

# What shows a study to a person. A list with a thumbnail of each study opens none of them.
_OPENED: Final = (
    (re.compile(r"/ai/studies/(?P<study>[0-9.]+)/(?:findings|reviews)"), "findings"),
    (re.compile(r"/ai/studies/(?P<study>[0-9.]+)/(?:pictures|images|objects/[0-9.]+/picture)"), "images"),
    (re.compile(r"/ai/worklist/(?P<study>[0-9.]+)/explanation"), "explanation"),
    (re.compile(r"(?:/ai)?/dicom-web/studies/(?P<study>[0-9.]+)(?:/.*)?"), "images"),
)
_UID: Final = re.compile(r"[0-9][0-9.]{0,63}")


def opened(method: str, path: str, study: str | None = None) -> tuple[str, str] | None:
    """Study Instance UID and what of it a request opens, None where it opens none. `study`: of the query."""
    if method != "GET":
        return None
    if path == "/ai/panel":
        return (study, "panel") if study and _UID.fullmatch(study) else None
    for pattern, what in _OPENED:
        match = pattern.fullmatch(path)
        if match is not None and _UID.fullmatch(match["study"]):
            return match["study"], what
    return None
