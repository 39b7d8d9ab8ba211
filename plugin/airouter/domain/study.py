"""What the archive holds, as far as routing needs it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Modality(StrEnum):
    """The modalities the router reads (PS3.3 C.7.3.1.1.1)."""

    SM = "SM"  # Slide Microscopy
    OP = "OP"  # Ophthalmic Photography
    OPT = "OPT"  # Ophthalmic Tomography
    OPV = "OPV"  # Ophthalmic Visual Field


EYES: frozenset[str] = frozenset({Modality.OP, Modality.OPT, Modality.OPV})


# PS3.4 Annex B.5 (Standard SOP Classes). Sources are an allow-list: nothing else is ever analysed, so that our own
# results cannot come back as work. The SOP class, not Modality, says what an object is.
SOURCE_SOP_CLASSES: Mapping[str, Modality] = {
    "1.2.840.10008.5.1.4.1.1.77.1.6": Modality.SM,  # VL Whole Slide Microscopy Image Storage
    "1.2.840.10008.5.1.4.1.1.77.1.5.1": Modality.OP,  # Ophthalmic Photography 8 Bit Image Storage
    "1.2.840.10008.5.1.4.1.1.77.1.5.2": Modality.OP,  # Ophthalmic Photography 16 Bit Image Storage
    "1.2.840.10008.5.1.4.1.1.77.1.5.4": Modality.OPT,  # Ophthalmic Tomography Image Storage
    "1.2.840.10008.5.1.4.1.1.80.1": Modality.OPV,  # Ophthalmic Visual Field Static Perimetry Measurements Storage
}


# Images of the eye that are known and not analysed, with the reason that is stored (PS3.4 Annex B.5).
REFUSED_SOP_CLASSES: Mapping[str, str] = {
    "1.2.840.10008.5.1.4.1.1.77.1.5.5": "a wide-field photograph: the models are for fields of up to 60 degrees",
    "1.2.840.10008.5.1.4.1.1.77.1.5.6": "a wide-field photograph: the models are for fields of up to 60 degrees",
    "1.2.840.10008.5.1.4.1.1.77.1.5.7": "an en face image: B-scans are needed",
    "1.2.840.10008.5.1.4.1.1.77.1.5.8": "an OCT angiography volume: a structural OCT is needed",
}


# Microscopy Bulk Simple Annotations Storage: what a person or another system drew on a slide. Never analysed by itself.
ANNOTATIONS: str = "1.2.840.10008.5.1.4.1.1.91.1"


class Laterality(StrEnum):
    """Right, left, both (PS3.3 C.7.3.1.1.1, Image Laterality)."""

    R = "R"
    L = "L"
    B = "B"

    @classmethod
    def agreed(cls, said: Iterable[Any]) -> "Laterality | None":
        """What several attributes of a header say alike; None where none says it, one says unknown, or two differ."""
        found = {str(value) for value in said if value}
        one = found.pop() if len(found) == 1 else None
        return cls(one) if one in set(cls) else None


@dataclass(frozen=True, slots=True)
class Attribute:
    """One DICOM attribute: value representation and values; the values of a sequence are its items."""

    vr: str
    values: tuple[Any, ...]


# A header as routing sees it: DICOM keyword -> Attribute. No pixel data, no per-frame groups, no bulk values.
Attributes = Mapping[str, Attribute]


@dataclass(frozen=True, slots=True)
class Instance:
    """One stored SOP instance. `id` is the archive's own identifier, `digest` the checksum of its stored file.

    One without any attributes has a header that cannot be read; its UIDs are those the archive knows.
    """

    id: str
    uid: str
    sop_class: str
    series_uid: str
    study_uid: str
    digest: str
    attributes: Attributes = field(repr=False, default_factory=dict)

    @property
    def modality(self) -> Modality | None:
        """What the SOP class makes of it, None for a class the router does not read."""
        return SOURCE_SOP_CLASSES.get(self.sop_class)

    def first(self, keyword: str) -> Any:
        """First value of a top-level attribute, None where it is missing or empty."""
        attribute = self.attributes.get(keyword)
        return attribute.values[0] if attribute and attribute.values else None

    def all(self, keyword: str) -> tuple[Any, ...]:
        """Every value of a top-level attribute, empty where it is missing."""
        attribute = self.attributes.get(keyword)
        return attribute.values if attribute else ()


@dataclass(frozen=True, slots=True)
class Prior:
    """An image that was taken before. `study_id`: the archive's own identifier of the study it lies in."""

    study_id: str
    instance: Instance


@dataclass(frozen=True, slots=True)
class ImageSet:
    """What one job may read: a slide (every level of one series), or one OP, OPT or OPV instance.

    `annotations`: what was drawn on a slide, for pipelines that read it. `priors`: earlier images of the same patient,
    in their own studies, for pipelines that compare.
    """

    modality: Modality
    study_id: str
    study_uid: str
    series_uid: str
    instances: tuple[Instance, ...]
    annotations: tuple[Instance, ...] = ()
    priors: tuple[Prior, ...] = ()

    @property
    def uids(self) -> tuple[str, ...]:
        return tuple(sorted(i.uid for i in self.instances))


@dataclass(frozen=True, slots=True)
class Study:
    """A study and its instances. `id` is the archive's own identifier, `uid` the Study Instance UID."""

    id: str
    uid: str
    instances: tuple[Instance, ...]

    def image_sets(self) -> Iterator[ImageSet]:
        """Group the readable instances: SM by series (one slide), everything else one by one."""
        slides: dict[str, list[Instance]] = {}
        for instance in sorted(self.instances, key=lambda i: i.uid):
            modality = instance.modality
            if modality is None:
                continue
            if modality is Modality.SM:
                slides.setdefault(instance.series_uid, []).append(instance)
            else:
                yield ImageSet(modality, self.id, self.uid, instance.series_uid, (instance,))
        for series_uid, levels in slides.items():
            drawn = tuple(i for i in self.instances if i.sop_class == ANNOTATIONS and series_uid in _referenced(i))
            yield ImageSet(Modality.SM, self.id, self.uid, series_uid, tuple(levels), drawn)


def _referenced(instance: Instance) -> set[Any]:
    """Series Instance UIDs that an object refers to (Common Instance Reference module, PS3.3 C.12.2)."""
    items = (item for item in instance.all("ReferencedSeriesSequence") if isinstance(item, Mapping))
    return {uid for item in items if (named := item.get("SeriesInstanceUID")) for uid in named.values}
