"""Orthanc's objects by DICOM's own identifiers, and its DICOMweb plugin's searches, which versions before 1.8 answer
wrongly to what browsers send."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

from pyorthanc import Orthanc

from airouter.adapters.rest import Rest
from airouter.adapters.sight import OrthancSight
from airouter.errors import ArchiveUnavailable, RequestError
from airouter.services.dicom_web import Address, Found

_MAY_NOT: Final = (401, 403)
_REFUSED: Final = (400, 404, 406, 415)
_EMPTY: Final = 204


class OrthancDirectory:
    """services.dicom_web.Directory. `client` has our token; `user` has none and asks in a user's name.

    `root`: where Orthanc's DICOMweb plugin is mounted.
    """

    def __init__(self, client: Orthanc, user: OrthancSight, root: str = "/dicom-web/") -> None:
        self._rest = Rest(client)
        self._user = user
        self._root = "/" + root.strip("/")

    def close(self) -> None:
        """Close the connections."""
        self._rest.close()

    def instances(self, address: Address) -> Sequence[Found]:
        query = {"StudyInstanceUID": address.study}
        if address.series is not None:
            query["SeriesInstanceUID"] = address.series
        if address.instance is not None:
            query["SOPInstanceUID"] = address.instance
        asked = {"Level": "Instance", "Query": query, "Expand": True}
        found = self._rest.send("POST", "/tools/find", content=json.dumps(asked).encode()).json()
        studies: dict[str, str] = {}
        for each in found:
            series = str(each["ParentSeries"])
            if series not in studies:
                studies[series] = str(self._rest.json(f"/series/{quote(series)}")["ParentStudy"])
        return [
            Found(str(each["ID"]), studies[str(each["ParentSeries"])], str(each.get("FileUuid", "")))
            for each in sorted(found, key=_place)
        ]

    def query(self, path: str, arguments: Mapping[str, str], headers: Mapping[str, str]) -> Any | None:
        answer = self._user.answer(f"{self._root}{path}{_arguments(arguments)}", headers, (*_MAY_NOT, *_REFUSED))
        if answer.status_code in _MAY_NOT:
            return None
        if answer.status_code in _REFUSED:
            raise RequestError(f"Orthanc refuses the search: HTTP {answer.status_code}")
        if answer.status_code == _EMPTY or not answer.content:
            return []
        try:
            return answer.json()
        except ValueError as error:
            raise ArchiveUnavailable("Orthanc's DICOMweb plugin answers no JSON: is it installed?") from error


def _place(instance: Mapping[str, Any]) -> tuple[str, int, str]:
    """Instances in the order of their numbers; of what has none, by identifier."""
    number = str(instance.get("MainDicomTags", {}).get("InstanceNumber", "")).strip()
    return str(instance["ParentSeries"]), int(number) if number.isdecimal() else 0, str(instance["ID"])


def _arguments(given: Mapping[str, str]) -> str:
    """A field of its own for each that is included: the commas that a browser encodes are not read as such."""
    pairs: list[tuple[str, str]] = [(name, value) for name, value in given.items() if name.lower() != "includefield"]
    pairs += [("includefield", field) for field in _fields(given)]
    return f"?{urlencode(pairs)}" if pairs else ""


def _fields(given: Mapping[str, str]) -> Iterable[str]:
    listed = next((value for name, value in given.items() if name.lower() == "includefield"), "")
    return (field.strip() for field in listed.split(",") if field.strip())
