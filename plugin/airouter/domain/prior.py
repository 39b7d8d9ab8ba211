"""Which stored images are earlier ones of the same eye. From headers alone; pixels are looked at later."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from airouter.domain.study import Attribute, Instance, Laterality, Prior


def taken(instance: Instance) -> str:
    """When it was acquired, as `when` says it of its header."""
    return when(*(instance.first(keyword) for keyword in ("AcquisitionDateTime", "StudyDate", "StudyTime")))


def when(acquired: Any, date: Any, time: Any) -> str:
    """From Acquisition DateTime, Study Date and Study Time: 8 to 14 digits YYYYMMDDHHMMSS, empty where they do not say.

    Acquisition DateTime without its fraction and offset from UTC; else Study Date, with Study Time where it is there.
    """
    whole = re.match(r"\d{8,14}", str(acquired or ""))
    if whole:
        return whole.group()
    day, clock = re.fullmatch(r"\d{8}", str(date or "")), re.match(r"\d{2,6}", str(time or ""))
    return day.group() + (clock.group() if clock else "") if day else ""


def eye(instance: Instance) -> Laterality | None:
    """Right or left, None where the header does not say it beyond doubt."""
    one = Laterality.agreed(_lateralities(instance.attributes))
    return one if one in (Laterality.R, Laterality.L) else None


def earlier(image: Instance, candidates: Iterable[Prior], *, latest_study: bool = False) -> tuple[Prior, ...]:
    """The candidates of the same patient, SOP class and eye that were taken before, oldest first.

    `latest_study`: only those of the latest other study that has any. None where the image says no eye or no time. One
    that says no eye itself is taken along: the reason why it is not used is to be told. Where a time is given by the
    day alone, another one on that day is not earlier.
    """
    now, side = taken(image), eye(image)
    if not now or side is None:
        return ()
    found = [
        prior
        for prior in candidates
        if prior.instance.uid != image.uid
        and prior.instance.sop_class == image.sop_class
        and same_patient(image, prior.instance)
        and eye(prior.instance) in (side, None)
        and _before(taken(prior.instance), now)
    ]
    if latest_study:
        others = [p for p in found if p.instance.study_uid != image.study_uid and eye(p.instance) is side]
        newest = max(others, key=lambda p: (taken(p.instance), p.instance.uid), default=None)
        found = [p for p in others if newest is not None and p.instance.study_uid == newest.instance.study_uid]
    return tuple(sorted(found, key=lambda p: (taken(p.instance), p.instance.uid)))


def same_patient(one: Instance, other: Instance) -> bool:
    """Whether two images say the same Patient ID, and no other date of birth.

    An archive takes studies without a Patient ID for one patient's; they are anybody's.
    """
    if not one.first("PatientID") or one.first("PatientID") != other.first("PatientID"):
        return False
    born = {str(i.first("PatientBirthDate")) for i in (one, other) if i.first("PatientBirthDate")}
    return len(born) <= 1


def _before(one: str, other: str) -> bool:
    length = min(len(one), len(other))
    return length > 0 and one[:length] < other[:length]


def _lateralities(attributes: Mapping[str, Attribute]) -> Iterable[Any]:
    """As imaging.header.laterality, of the attributes that routing sees: without the groups of each frame."""
    for keyword in ("ImageLaterality", "Laterality", "MeasurementLaterality"):
        if keyword in attributes:
            yield from attributes[keyword].values
    for group in _items(attributes, "SharedFunctionalGroupsSequence"):
        for anatomy in _items(group, "FrameAnatomySequence"):
            if "FrameLaterality" in anatomy:
                yield from anatomy["FrameLaterality"].values


def _items(attributes: Mapping[str, Attribute], keyword: str) -> list[Mapping[str, Attribute]]:
    found = attributes.get(keyword)
    return [item for item in found.values if isinstance(item, Mapping)] if found else []
