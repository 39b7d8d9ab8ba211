"""Which requests Orthanc may answer at all: asked for every one of the server, before its body is read.

It guards Orthanc's own routes by the same table as ours, and against other sites. Ours are only kept from
huge bodies here: `web.guard` decides on them with an answer that says why, which a filter of Orthanc cannot give.

It runs on Orthanc's HTTP threads (100 KB of stack, and all share the interpreter lock): nothing but short Python.
What Orthanc shows is the method after `_method` and X-HTTP-Method-Override were obeyed, the path decoded and
normalised, header names in lower case, and of the query only that of a GET. So a GET that `_method` made a DELETE is a
DELETE here, and only its headers tell it from one that was meant.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from airouter.domain.role import Person
from airouter.web import csrf, permissions
from airouter.web.access import Access, why_not
from airouter.web.bridge import ROOTS
from airouter.web.opened import opened
from airouter.web.refusals import Refused

_OURS_MOST: Final = 32 << 20  # bytes of a body for a route of ours; web.guard knows what each takes
_OVERRIDE: Final = "x-http-method-override"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may pass, and who asked. `reason` is None where it may."""

    reason: str | None
    person: Person | None = None


_PASS: Final = Verdict(None)


@dataclass(slots=True)
class Gate:
    """Decides on requests. Pure but for the tokens, which come when the router starts.

    `dicom_web` and `wado`: where the DICOMweb plugin is mounted.
    """

    access: Access
    dicom_web: str = "/dicom-web"
    wado: str = "/wado"
    _tokens: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, document: Mapping[str, Any], access: Access) -> Self:
        """For an Orthanc of this configuration."""
        section = document.get("DicomWeb")
        section = section if isinstance(section, Mapping) else {}
        return cls(access, _path(str(section.get("Root", "/dicom-web"))), _path(str(section.get("WadoRoot", "/wado"))))

    def trust(self, token: str) -> None:
        """Let pass what carries this token of GenerateRestApiAuthorizationToken: the router's own requests."""
        self._tokens = (*self._tokens, token.encode())

    def lets_pass(
        self,
        method: str,
        uri: str,
        headers: Mapping[str, str],
        arguments: Mapping[str, str],
        *,
        refused: Callable[[Refused], None],
        viewed: Callable[[Person, str, str], None] = lambda person, study, what: None,
    ) -> bool:
        """The decision for bridge.screen; `refused` is told of what may not pass, `viewed` of studies that are shown by
        Orthanc's own DICOMweb."""
        verdict = self.decide(method, uri, headers, arguments)
        if verdict.reason is None and verdict.person is not None:
            found = opened(method, self._standard(_path(uri)))
            if found is not None:
                viewed(verdict.person, *found)
        if verdict.reason is not None and verdict.person is not None:
            refused(Refused.of(verdict.person, method, uri, verdict.reason))
        return verdict.reason is None

    def decide(self, method: str, uri: str, headers: Mapping[str, str], arguments: Mapping[str, str]) -> Verdict:
        """Whether the request may pass."""
        authorization = headers.get("authorization")
        if authorization and self._own(authorization):
            return _PASS
        path = _path(uri)
        ours = any(path == root or path.startswith(f"{root}/") for root in ROOTS)
        reason = self._unacceptable(method, uri, headers, arguments, ours=ours)
        if ours and reason is None:
            return _PASS
        person = self.access.identify(authorization)
        return Verdict(reason or why_not(person, permissions.of_orthanc(method, self._standard(path))), person)

    def _own(self, authorization: str) -> bool:
        given = authorization.encode()
        return any(hmac.compare_digest(given, token) for token in self._tokens)

    def _unacceptable(
        self, method: str, uri: str, headers: Mapping[str, str], arguments: Mapping[str, str], *, ours: bool
    ) -> str | None:
        """What is wrong with the request, whoever sends it."""
        if "/." in uri and any(step in (".", "..") for step in uri.split("/")):
            return "the path is not normalised"
        if _OVERRIDE in headers or "_method" in arguments:
            return "the method is overridden"
        if method not in csrf.SAFE and not ours and csrf.forged(headers, self.access.origins):
            return "cross-site request"
        return self._body(headers, ours=ours)

    def _body(self, headers: Mapping[str, str], *, ours: bool) -> str | None:
        if not self.access.compressed and headers.get("content-encoding", "identity").lower() != "identity":
            return "the body is compressed"
        if ours and "transfer-encoding" in headers:
            return "the length of the body is not known"
        length = headers.get("content-length", "0")
        most = _OURS_MOST if ours else self.access.most
        if most is None or length == "0":
            return None
        if not (length.isascii() and length.isdigit() and len(length) < 19):
            return "the length of the body is not a number"
        return "the body is too large" if int(length) > most else None

    def _standard(self, path: str) -> str:
        """The path as the table writes it, wherever the DICOMweb plugin is mounted."""
        for root, name in ((self.dicom_web, "/dicom-web"), (self.wado, "/wado")):
            if path == root or path.startswith(f"{root}/"):
                return name + path[len(root) :]
        return path


def _path(uri: str) -> str:
    """Without empty steps."""
    return "/" + "/".join(step for step in uri.split("/") if step)
