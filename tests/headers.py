"""Instances as the intake sees them, built in code."""

from collections.abc import Mapping
from typing import Any

from airouter.domain.study import Attribute, Attributes, ImageSet, Instance, Modality, Study

SM = "1.2.840.10008.5.1.4.1.1.77.1.6"
OP = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
OPT = "1.2.840.10008.5.1.4.1.1.77.1.5.4"
SR = "1.2.840.10008.5.1.4.1.1.88.34"

_VR = {
    "Modality": "CS",
    "ImageType": "CS",
    "NumberOfFrames": "IS",
    "TotalPixelMatrixColumns": "UL",
    "ConcatenationUID": "UI",
    "InConcatenationNumber": "US",
    "InConcatenationTotalNumber": "US",
    "Manufacturer": "LO",
    "SOPClassUID": "UI",
}


def attributes(values: Mapping[str, Any], vrs: Mapping[str, str] | None = None) -> Attributes:
    """Attributes from plain values; a tuple stands for several values."""
    known = {**_VR, **(vrs or {})}
    return {k: Attribute(known.get(k, "LO"), v if isinstance(v, tuple) else (v,)) for k, v in values.items()}


def instance(uid: str, sop_class: str = OP, series: str = "1.2.3", **values: Any) -> Instance:
    """One instance; Modality follows the SOP class unless it is given."""
    modality = {SM: "SM", OP: "OP", OPT: "OPT", SR: "SR"}.get(sop_class, "OT")
    header = {"Modality": modality, "SOPClassUID": sop_class, **values}
    return Instance(f"id-{uid}", uid, sop_class, series, "1.2", f"md5-{uid}", attributes(header))


def level(uid: str, columns: int, frames: int, flavour: str = "NONE", kind: str = "VOLUME", **values: Any) -> Instance:
    """One level of a slide; `flavour` is value 4 of Image Type, NONE for the base."""
    image_type = ("ORIGINAL" if flavour == "NONE" else "DERIVED", "PRIMARY", kind, flavour)
    return instance(uid, SM, ImageType=image_type, TotalPixelMatrixColumns=columns, NumberOfFrames=frames, **values)


def study(*instances: Instance) -> Study:
    return Study("study", "1.2", instances)


def slide(*levels: Instance) -> ImageSet:
    return ImageSet(Modality.SM, "study", "1.2", "1.2.3", levels)
