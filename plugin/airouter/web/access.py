"""Who sends a request, and whether the table (web.permissions) lets them.

Orthanc checks names and passwords and tells neither to plugins; so the name is read from the very header that Orthanc
has compared with its own list. Where Orthanc does not ask for passwords, that header proves nothing and names nobody.
"""

import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from flask import Response, g, request
from pydantic import ValidationError

from airouter import config
from airouter.config import AccessSettings, UserSettings
from airouter.domain.role import Person, Role
from airouter.web.permissions import HOLDERS, Action, allowed
from airouter.web.problems import problem

_EVERYTHING = frozenset({Role.ADMINISTRATOR})
_ADVICE = (
    "An administrator gives roles in AIRouter.Users of orthanc.json (docs/reference/roles.md); then Orthanc restarts."
)


@dataclass(frozen=True, slots=True)
class Access:
    """Users and their roles as configured, and what requests may be like.

    `authenticated`: Orthanc asks for passwords. `users` None: the settings cannot be read, and nobody may do anything
    until they can. `origins`: further names of this server. `most`: bytes of a body, None: whatever comes.
    `compressed`: bodies may be.
    """

    authenticated: bool = True
    users: Mapping[str, UserSettings] | None = field(default_factory=dict)
    organization: str = ""
    origins: frozenset[str] = frozenset()
    most: int | None = None
    compressed: bool = False

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """From a whole Orthanc configuration. It does not fail where other settings are wrong: Orthanc serves on
        without the router then, and must not serve more than before."""
        authenticated = config.authenticated(document)
        section = document.get(config.SECTION)
        section = section if isinstance(section, Mapping) else {}
        known = {field_.alias or name for name, field_ in AccessSettings.model_fields.items()}
        try:
            given = {key: value for key, value in section.items() if key in known}
            settings = AccessSettings.model_validate(given)
        except ValidationError:
            return cls(authenticated, None)
        return cls(
            authenticated,
            settings.users,
            settings.organization,
            frozenset(origin.lower() for origin in settings.public_origins),
            settings.maximum_upload_megabytes << 20,
            settings.compressed_requests,
        )

    def identify(self, authorization: str | None) -> Person:
        """Whom the header Authorization names, with their roles."""
        name = _name(authorization) if self.authenticated else None
        shown = "".join(c for c in name if c.isprintable())[:64] or None if name else None
        if self.users is not None and not self.users:
            return Person(shown, _EVERYTHING, shown or "", self.organization)
        entry = self.users.get(name) if self.users and name is not None else None
        if entry is None:
            return Person(shown, frozenset())
        return Person(shown, frozenset(entry.roles), entry.name or shown or "", entry.organization or self.organization)


def _name(authorization: str | None) -> str | None:
    scheme, _, credentials = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return binascii.a2b_base64(credentials.strip()).decode("utf-8").partition(":")[0] or None
    except (binascii.Error, ValueError):
        return None


def person() -> Person:
    """Who sent the current request. Every route may ask: guard.register has found out before."""
    found: Person = g.person
    return found


def introduce(access: Access) -> None:
    """Find out who sends the current request, for `person`."""
    g.person = access.identify(request.headers.get("Authorization"))


def why_not(person: Person, action: Action | None) -> str | None:
    """Why this person may not do that, None where they may."""
    if action is None:
        return "no role may use this route"
    if allowed(person, action):
        return None
    if not person.roles:
        return "this user has no role" if person.name else "nobody is named, so no role is held"
    return f"needs the role {' or '.join(sorted(HOLDERS[action]))}"


def refusal(person: Person, reason: str) -> Response:
    """The answer to someone who lacks a role."""
    held = f"You are {', '.join(sorted(person.roles))}. " if person.roles else ""
    return problem(403, reason, held + _ADVICE)
