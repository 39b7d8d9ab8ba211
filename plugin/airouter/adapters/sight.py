"""What a user may see, asked of Orthanc itself in the user's name.

Who may read what is decided in Orthanc: by its registered users, by a filter in Lua or Python, by an authorization
plugin. So the request that this user could send is sent, with nothing but the user's own credentials; none of ours.
"""

from collections.abc import Iterable, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final
from urllib.parse import quote

import httpx
from pyorthanc import Orthanc

from airouter.adapters.rest import Rest
from airouter.ports import SeenStudy

_MAY_NOT: Final = (401, 403)


class OrthancSight:
    """ports.Sight by a client that has no credentials of its own.

    `credentials`: names of the headers that are passed on; Authorization always is. All others stay here: Orthanc obeys
    some of them, such as X-HTTP-Method-Override.
    """

    def __init__(self, client: Orthanc, credentials: Iterable[str] = ()) -> None:
        client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # one user's are not sent for another
        self._rest = Rest(client)
        self._passed_on = frozenset({"authorization", *(name.lower() for name in credentials)})

    def close(self) -> None:
        """Close the connections."""
        self._rest.close()

    def study(self, study_id: str, headers: Mapping[str, str]) -> SeenStudy | None:
        own = {name: value for name, value in headers.items() if name.lower() in self._passed_on}
        found = self._ask(f"/studies/{quote(study_id, safe='')}", own)
        series = self._ask(f"/studies/{quote(study_id, safe='')}/series", own) if found is not None else None
        if found is None or series is None:
            return None
        # Without a Patient ID all patients are one to Orthanc.
        known = str(found.get("PatientMainDicomTags", {}).get("PatientID") or "").strip()
        return SeenStudy(
            frozenset(str(each["MainDicomTags"].get("SeriesInstanceUID", "")) for each in series),
            str(found["ParentPatient"]) if known else None,
        )

    def file(self, instance: str, headers: Mapping[str, str], most: int) -> bytes | int | None:
        """services.quality.Files: the size is asked first, for Orthanc reads a whole file to answer with it."""
        own = {name: value for name, value in headers.items() if name.lower() in self._passed_on}
        path = f"/instances/{quote(instance, safe='')}"
        size = self._rest.send("GET", f"{path}/attachments/dicom/size", headers=own, accept=_MAY_NOT)
        if size.status_code in _MAY_NOT:
            return None
        if (count := int(size.text)) > most:
            return count
        answer = self._rest.send("GET", f"{path}/file", headers=own, accept=_MAY_NOT)
        return None if answer.status_code in _MAY_NOT else answer.content

    def answer(self, path: str, headers: Mapping[str, str], accept: tuple[int, ...]) -> httpx.Response:
        """What Orthanc answers to this user; the statuses in `accept` are answers, the others failures."""
        own = {name: value for name, value in headers.items() if name.lower() in self._passed_on}
        return self._rest.send("GET", path, headers=own, accept=accept)

    def _ask(self, path: str, own: Mapping[str, str]) -> Any:
        answer = self._rest.send("GET", path, headers=own, accept=_MAY_NOT)
        return None if answer.status_code in _MAY_NOT else answer.json()


def credential_headers(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the headers, beside Authorization, that Orthanc's configuration says carry a user's token: those of the
    authorization plugin."""
    section = document.get("Authorization")
    named = section.get("TokenHttpHeaders") if isinstance(section, Mapping) else None
    return tuple(str(name) for name in named) if isinstance(named, list) else ()
