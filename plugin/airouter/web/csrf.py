"""Whether a browser sends a request because another site told it to (cross-site request forgery).

Browsers resend Basic credentials with whatever any page makes them send. What tells is what a page cannot choose:
`Origin` and `Sec-Fetch-*`, and that a header of one's own needs a preflight, which Orthanc refuses. `Sec-Fetch-*` is
only sent to https and to this machine itself, and `Origin` not with pictures and links; but Orthanc turns those into a
DELETE where they carry `_method`. So the absence of both proves nothing of a browser, and everything of a program.
"""

from collections.abc import Container
from typing import Protocol
from urllib.parse import urlsplit

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_PORTS = {"http": ":80", "https": ":443"}
# What no browser leaves out altogether, and hardly a program sends without being one.
_OF_A_BROWSER = ("accept-language", "sec-fetch-site", "sec-fetch-mode", "sec-ch-ua", "referer", "cookie")


class Headers(Protocol):
    """Request headers by name: lower-case ones where the mapping is a plain dict."""

    def get(self, key: str, default: str, /) -> str: ...

    def __contains__(self, key: str, /) -> bool: ...


def foreign(headers: Headers, origins: Container[str] = ()) -> bool:
    """Whether it says itself that it comes from another site. `origins` are further names of this server."""
    origin = headers.get("origin", "").lower()
    if origin in origins:
        return False  # to the proxy it was same-origin, whatever it made of Host
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return True
    return "origin" in headers and not _same(origin, headers.get("host", "").lower())


def _same(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    default = _PORTS.get(parts.scheme, "")
    return parts.scheme in _PORTS and parts.netloc.removesuffix(default) == host.removesuffix(default)


def deliberate(headers: Headers) -> bool:
    """Whether a request that is not foreign cannot have come from a plain link, picture or form."""
    if "x-requested-with" in headers or "origin" in headers:
        return True
    own = headers.get("sec-fetch-site", "") == "same-origin"
    return own and headers.get("sec-fetch-mode", "cors") not in ("no-cors", "navigate")


def forged(headers: Headers, origins: Container[str] = ()) -> bool:
    """Whether a request that changes something may be another site's: only programs leave out the signs of intent."""
    if foreign(headers, origins):
        return True
    return not deliberate(headers) and browser(headers)


def browser(headers: Headers) -> bool:
    """Whether a browser sends this, as far as headers tell that a page cannot change."""
    if headers.get("user-agent", "").lower().startswith("mozilla/"):
        return True
    return any(name in headers for name in _OF_A_BROWSER)
