"""The one table of who may do what over HTTP: every route of ours and of Orthanc's, and the roles that may call it.

docs/reference/roles.md shows the same to people; a test compares the two. What does not stand here is refused: among
our routes to everybody, elsewhere to all but administrators.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from airouter.domain.role import Person, Role


class Action(StrEnum):
    """What a route does, as far as roles are concerned."""

    ASK = "ask"  # how the router stands, and who one is: needs no role at all
    STATUS = "status"
    IMAGES = "images"
    UPLOAD = "upload"
    QUALITY = "quality"
    READ = "read"
    REVIEW = "review"
    CLAIM = "claim"
    ASSIGN = "assign"
    INSPECT = "inspect"
    AUDIT = "audit"
    ADMINISTER = "administer"


_T, _R, _S, _G, _A = Role.TECHNICIAN, Role.READER, Role.SUPERVISOR, Role.GOVERNANCE, Role.ADMINISTRATOR
HOLDERS: Final[Mapping[Action, frozenset[Role]]] = {
    Action.ASK: frozenset(Role),
    Action.STATUS: frozenset(Role),
    Action.IMAGES: frozenset(Role),
    Action.UPLOAD: frozenset({_T, _A}),
    Action.QUALITY: frozenset({_T, _R, _S, _A}),
    Action.READ: frozenset({_R, _S, _G, _A}),
    Action.REVIEW: frozenset({_R, _S}),
    Action.CLAIM: frozenset({_R, _S}),
    Action.ASSIGN: frozenset({_S}),
    Action.INSPECT: frozenset({_G, _A}),
    Action.AUDIT: frozenset({_G}),
    Action.ADMINISTER: frozenset({_A}),
}

# Routes of ours, as Flask writes them.
_INSTANCE: Final = "/ai/dicom-web/studies/<string:study>/series/<string:series>/instances/<string:instance>"
AIROUTER: Final[dict[tuple[str, str], Action]] = {
    ("GET", "/ai/health"): Action.ASK,
    ("GET", "/ai/me"): Action.ASK,
    ("GET", "/ai/models"): Action.STATUS,
    ("GET", "/ai/metrics"): Action.STATUS,
    ("GET", "/ai/openapi.json"): Action.STATUS,
    ("GET", "/ai/static/<path:path>"): Action.STATUS,
    ("GET", "/ai/rescans"): Action.QUALITY,
    ("POST", "/ai/rescans/<string:series_uid>/dismiss"): Action.QUALITY,
    ("POST", "/ai/quality"): Action.QUALITY,
    ("GET", "/ai/"): Action.READ,
    ("GET", "/ai/worklist"): Action.READ,
    ("GET", "/ai/worklist/<string:uid>/explanation"): Action.READ,
    ("POST", "/ai/worklist/<string:uid>/claim"): Action.CLAIM,
    ("POST", "/ai/worklist/<string:uid>/release"): Action.CLAIM,
    ("POST", "/ai/worklist/<string:uid>/assign"): Action.CLAIM,  # one's own; others' are for supervisors: domain.desk
    ("POST", "/ai/worklist/<string:uid>/priority"): Action.CLAIM,
    ("POST", "/ai/worklist/<string:uid>/complete"): Action.CLAIM,
    ("POST", "/ai/worklist/<string:uid>/reopen"): Action.CLAIM,
    ("GET", "/ai/studies/<string:uid>/thumbnail"): Action.READ,
    ("GET", "/ai/studies/<string:uid>/findings"): Action.READ,
    ("GET", "/ai/panel"): Action.READ,
    ("GET", "/ai/review-reasons"): Action.READ,
    ("GET", "/ai/studies/<string:uid>/reviews"): Action.READ,
    ("POST", "/ai/studies/<string:uid>/reviews"): Action.REVIEW,
    ("GET", "/ai/worklist/<string:uid>"): Action.READ,
    ("GET", "/ai/studies/<string:uid>/pictures"): Action.READ,
    ("GET", "/ai/studies/<string:uid>/images"): Action.READ,
    ("GET", "/ai/studies/<string:uid>/objects/<string:sop>/picture"): Action.READ,
    ("GET", "/ai/jobs/<string:key>/charts"): Action.READ,
    ("GET", "/ai/jobs/<string:key>/charts/<string:role>/svg"): Action.READ,
    ("GET", "/ai/similar/<string:series_uid>"): Action.READ,
    ("GET", "/ai/similar/thumbnails/<string:job>/<int:region>"): Action.READ,
    ("GET", "/ai/dicom-web/studies"): Action.READ,
    ("GET", "/ai/dicom-web/studies/<string:study>/series"): Action.READ,
    ("GET", "/ai/dicom-web/studies/<string:study>/instances"): Action.READ,
    ("GET", "/ai/dicom-web/studies/<string:study>/metadata"): Action.READ,
    ("GET", "/ai/dicom-web/studies/<string:study>/series/<string:series>/instances"): Action.READ,
    ("GET", "/ai/dicom-web/studies/<string:study>/series/<string:series>/metadata"): Action.READ,
    ("GET", _INSTANCE): Action.READ,
    ("GET", f"{_INSTANCE}/metadata"): Action.READ,
    ("GET", f"{_INSTANCE}/frames/<string:numbers>"): Action.READ,
    ("GET", f"{_INSTANCE}/bulk/<path:path>"): Action.READ,
    ("GET", "/ohif/"): Action.READ,
    ("GET", "/ohif/<path:path>"): Action.READ,
    ("GET", "/ai/audit"): Action.AUDIT,
    ("GET", "/ai/audit/head"): Action.AUDIT,
    ("GET", "/ai/jobs"): Action.INSPECT,
    ("GET", "/ai/jobs/<string:key>"): Action.INSPECT,
    ("GET", "/ai/decisions"): Action.INSPECT,
    ("POST", "/ai/jobs"): Action.ADMINISTER,
    ("DELETE", "/ai/jobs/<string:key>"): Action.ADMINISTER,
    ("GET", "/ai/imports"): Action.ADMINISTER,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """Routes of Orthanc. `*` is one step of the path, `**` at the end whatever follows, also nothing."""

    method: str
    path: str
    action: Action
    pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        text = re.escape(self.path).replace(r"/\*\*", "(/.*)?").replace(r"\*", "[^/]+")
        object.__setattr__(self, "pattern", re.compile(text, re.DOTALL))


# `dicom-web` stands for DicomWeb.Root and `wado` for DicomWeb.WadoRoot. The first that fits counts.
ORTHANC: Final = (
    Rule("GET", "/", Action.STATUS),
    Rule("GET", "/favicon.ico", Action.STATUS),
    Rule("GET", "/system", Action.STATUS),
    Rule("GET", "/statistics", Action.STATUS),
    Rule("GET", "/plugins/**", Action.STATUS),
    Rule("GET", "/tools", Action.STATUS),
    Rule("GET", "/tools/now", Action.STATUS),
    Rule("GET", "/tools/now-local", Action.STATUS),
    Rule("GET", "/tools/generate-uid", Action.STATUS),
    Rule("GET", "/tools/default-encoding", Action.STATUS),
    Rule("GET", "/tools/dicom-conformance", Action.STATUS),
    Rule("GET", "/app/**", Action.IMAGES),  # Orthanc Explorer: its files; what it asks for is decided below
    Rule("GET", "/patients/**", Action.IMAGES),
    Rule("GET", "/studies/**", Action.IMAGES),
    Rule("GET", "/series/**", Action.IMAGES),
    Rule("GET", "/instances/**", Action.IMAGES),
    Rule("POST", "/tools/find", Action.IMAGES),
    Rule("POST", "/tools/lookup", Action.IMAGES),
    Rule("POST", "/tools/bulk-content", Action.IMAGES),
    Rule("POST", "/tools/count-resources", Action.IMAGES),
    Rule("GET", "/tools/labels", Action.IMAGES),
    Rule("GET", "/dicom-web/studies/**", Action.IMAGES),
    Rule("GET", "/dicom-web/series/**", Action.IMAGES),
    Rule("GET", "/dicom-web/instances/**", Action.IMAGES),
    Rule("GET", "/wado", Action.IMAGES),
    Rule("GET", "/wsi/**", Action.IMAGES),
    Rule("GET", "/stone-webviewer/**", Action.IMAGES),
    Rule("GET", "/web-viewer/**", Action.IMAGES),
    Rule("POST", "/instances", Action.UPLOAD),
    Rule("POST", "/dicom-web/studies", Action.UPLOAD),
    Rule("POST", "/dicom-web/studies/*", Action.UPLOAD),
    Rule("GET", "/changes", Action.INSPECT),
    Rule("GET", "/exports", Action.INSPECT),
)

# Asked for every request of the server: only rules are tried that begin alike.
_FIRST_STEPS: Final[dict[tuple[str, str], list[Rule]]] = {}
for _rule in ORTHANC:
    _FIRST_STEPS.setdefault((_rule.method, _rule.path.split("/", 2)[1]), []).append(_rule)


def of_router(method: str, rule: str | None) -> Action | None:
    """What a route of ours does, None for one that is not in the table: nobody may call it."""
    return AIROUTER.get(("GET" if method == "HEAD" else method, rule or ""))


def of_orthanc(method: str, path: str) -> Action:
    """What a route of Orthanc does; `path` without a slash at its end."""
    for rule in _FIRST_STEPS.get((method, path.split("/", 2)[1]), ()):
        if rule.pattern.fullmatch(path):
            return rule.action
    return Action.ADMINISTER


def allowed(person: Person, action: Action) -> bool:
    """Whether this person may do it."""
    return action is Action.ASK or person.has(*HOLDERS[action])


def actions(person: Person) -> list[Action]:
    """Everything this person may do, by name."""
    return [action for action in Action if allowed(person, action)]
