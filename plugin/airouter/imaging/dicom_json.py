"""DICOM JSON (PS3.18 F) of a header, with every array whole: older DICOMweb servers cut those of OD, OF and OL."""

import base64
import math
from collections.abc import Mapping
from typing import Any, Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from airouter.errors import NotInArchive
from airouter.imaging.header import MALFORMED

_BULK: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_TRANSFER_SYNTAX: Final = "00083002"  # Available Transfer Syntax UID


def dicom_json(header: Dataset, address: str, largest: int = 2048) -> dict[str, Any]:
    """The header as DICOM JSON. What is longer than `largest` bytes is told by the address that `bulk_value` reads:
    `address`/bulk/TAG, in items /TAG/1/TAG and so on. Elements that cannot be decoded are left out."""
    made = _object(header, f"{address}/bulk/", largest)
    syntax = str(header.file_meta.get("TransferSyntaxUID", "")) if hasattr(header, "file_meta") else ""
    if syntax:
        made[_TRANSFER_SYNTAX] = {"vr": "UI", "Value": [syntax]}
    return made


def bulk_value(header: Dataset, path: str) -> bytes:
    """What `path` of a bulk address names. Raises NotInArchive where there is no such value."""
    *items, tag = path.split("/")
    dataset = header
    try:
        for sequence, number in zip(items[::2], items[1::2], strict=True):
            dataset = dataset[int(sequence, 16)].value[int(number) - 1]
        value = dataset[int(tag, 16)].value
    except (KeyError, IndexError, *MALFORMED) as error:
        raise NotInArchive("the object has no such value") from error
    if not isinstance(value, bytes):
        raise NotInArchive("the object has no such value")
    return value


def _object(dataset: Dataset, address: str, largest: int) -> dict[str, Any]:
    made = {}
    for tag in sorted(dataset.keys()):
        if tag.group == 2 or tag.element == 0:
            continue
        name = f"{int(tag):08X}"
        try:
            made[name] = _element(dataset[tag], f"{address}{name}", largest)
        except MALFORMED:
            continue
    return made


def _element(element: DataElement, address: str, largest: int) -> dict[str, Any]:
    value = element.value
    if element.VR == "SQ":
        items = [_object(item, f"{address}/{n}/", largest) for n, item in enumerate(value, 1)]
        return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
    if element.VR in _BULK:
        if not value:
            return {"vr": element.VR}
        if len(value) > largest:
            return {"vr": element.VR, "BulkDataURI": address}
        return {"vr": element.VR, "InlineBinary": base64.b64encode(value).decode("ascii")}
    return {key: _finite(part) for key, part in element.to_json_dict(None, 0).items()}


def _finite(value: Any) -> Any:
    """Numbers that JSON cannot say are text there."""
    if isinstance(value, list):
        return [_finite(each) for each in value]
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value
