"""What is known of a slide that is no DICOM object: its sidecar, a JSON file `<file name>.json` beside it.

Nothing is taken from file names or from what a scanner wrote into the file: who the patient is, which container it is
and how it was stained stands here or on the command line, or the slide is refused. docs/how-to/import-slides.md
describes every key.
"""

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from airouter.errors import SidecarError

SUFFIX: Final = ".json"
_MOST_BYTES: Final = 64 * 1024
# Value representations of PS3.5 6.2: no backslash, which separates values, and no control characters. Spaces around a
# value mean nothing in DICOM and would make two identifiers of one.
_PART: Final = r"[^\\^=\x00-\x1f\x7f-\x9f]*"


def _text(length: int, pattern: str = r"^[^\\\x00-\x1f\x7f-\x9f]+$") -> StringConstraints:
    return StringConstraints(strip_whitespace=True, min_length=1, max_length=length, pattern=pattern)


LongString = Annotated[str, _text(64)]
ShortString = Annotated[str, _text(16)]
PersonName = Annotated[str, _text(64, rf"^[^\\^=\x00-\x1f\x7f-\x9f]{_PART}(\^{_PART}){{0,4}}$")]
Uid = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+$", max_length=64)]
Stain = Literal["H&E", "H-DAB"]
_FIRST: Final = datetime.date(1850, 1, 1)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Coded(_Strict):
    """A coded concept as the laboratory's own dictionary has it."""

    value: ShortString
    scheme: ShortString
    meaning: LongString


class Patient(_Strict):
    """Patient module; `name` in DICOM's order, family^given^middle^prefix^suffix."""

    id: LongString
    name: PersonName | None = None
    birth_date: Annotated[datetime.date, Field(ge=_FIRST)] | None = None
    sex: Literal["F", "M", "O"] | None = None


class Study(_Strict):
    """General Study module. Without `instance_uid` the UID derives from patient and accession number."""

    instance_uid: Uid | None = None
    accession_number: ShortString | None = None
    date: Annotated[datetime.date, Field(ge=_FIRST)] | None = None
    time: datetime.time | None = None
    description: LongString | None = None
    referring_physician: PersonName | None = None


class Specimen(_Strict):
    """Specimen module: the slide is the container, `identifier` that of the specimen on it (the container's if not)."""

    container: LongString
    identifier: LongString | None = None
    stain: Stain | None = None
    type: Coded | None = None
    site: Coded | None = None


class Description(_Strict):
    """Everything a sidecar may say."""

    patient: Patient
    specimen: Specimen
    study: Study = Study()
    # Between centres of neighbouring pixels of the finest level; in place of what the file says.
    spacing_um: Annotated[float, Field(ge=0.02, le=100.0)] | None = None


def beside(file: Path) -> Path:
    """Where the sidecar of a slide lies: slide.svs.json of slide.svs."""
    return file.with_name(file.name + SUFFIX)


def read(sidecar: Path | None, options: Mapping[str, Mapping[str, Any] | Any] | None = None) -> Description:
    """The sidecar with `options` (of the same form, nested one deep; None is not said) laid over it.

    Raises SidecarError, which names every key that is missing or wrong and quotes no value.
    """
    document: dict[str, Any] = {}
    if sidecar is not None:
        document = _document(sidecar)
    for key, value in (options or {}).items():
        if isinstance(value, Mapping):
            said = {k: v for k, v in value.items() if v is not None}
            standing = document.get(key, {})
            if said and isinstance(standing, Mapping):
                document[key] = {**standing, **said}
        elif value is not None:
            document[key] = value
    for needed in ("patient", "specimen"):  # so that the very key that is missing below is named
        document.setdefault(needed, {})
    try:
        return Description.model_validate_json(json.dumps(document))
    except ValidationError as error:
        raise SidecarError("; ".join(_told(line) for line in error.errors(include_input=False))) from None


def _document(sidecar: Path) -> dict[str, Any]:
    try:
        with sidecar.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise SidecarError(f"the sidecar cannot be read: {error.strerror}") from None
    if len(text) > _MOST_BYTES:
        raise SidecarError(f"the sidecar is larger than {_MOST_BYTES // 1024} KiB")
    try:
        document = json.loads(text.decode("utf-8-sig"), object_pairs_hook=_once)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, _Twice) else "it must be JSON in UTF-8"
        raise SidecarError(f"the sidecar cannot be read: {reason}") from None
    if not isinstance(document, dict):
        raise SidecarError("the sidecar must hold one JSON object")
    return document


class _Twice(ValueError):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are different: of two patients, neither is believed."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _Twice("it has a key twice")
    return made


def _told(line: Any) -> str:
    path = ".".join(str(part) for part in line["loc"]) or "the sidecar"
    if line["type"] == "missing":
        return f"{path} is missing"
    if line["type"] == "extra_forbidden":
        # Another key's name is text of whoever wrote it, and may be a name that fell into the wrong place.
        return f"{'.'.join(str(part) for part in line['loc'][:-1]) or 'the sidecar'} has an unknown key"
    if line["type"] == "string_pattern_mismatch":
        return f"{path} has characters or a form that DICOM does not allow there"
    return f"{path}: {line['msg']}"
