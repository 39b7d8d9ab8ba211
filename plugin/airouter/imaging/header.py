"""What several readers ask of a header: spacing, laterality, functional groups. Missing is None, never a guess."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.sr.coding import Code as PydicomCode

from airouter.domain.code import Code
from airouter.domain.prior import when
from airouter.domain.study import Laterality

# Encoded frames of an instance by its archive identifier, 1-based, in the order asked (airouter.ports.Archive.frames).
Frames = Callable[[str, Sequence[int]], Iterator[bytes]]


# What pydicom raises when an element's bytes do not make a value of its VR; elements are converted when asked for.
MALFORMED: Final = (ValueError, TypeError, AttributeError, OverflowError, NotImplementedError, BytesLengthException)


def first_item(dataset: Dataset | None, *keywords: str) -> Dataset | None:
    """Walk down through the first items of nested sequences, None where one is missing or empty."""
    for keyword in keywords:
        items = dataset.get(keyword) if dataset is not None else None
        if not items:
            return None
        dataset = items[0]
    return dataset


def is_code(item: Dataset, code: Code) -> bool:
    """Whether a code sequence's item is that concept, by value and scheme.

    pydicom also knows the SNOMED RT codes (SRT) that older writers use for a concept.
    """
    there = PydicomCode(str(item.get("CodeValue", "")), str(item.get("CodingSchemeDesignator", "")), "")
    return bool(there == PydicomCode(code.value, code.scheme, code.meaning))


def number(value: Any) -> float | None:
    """A finite float, None for everything else."""
    try:
        made = float(value)
    except (TypeError, ValueError):
        return None
    return made if math.isfinite(made) else None


def integer(value: Any, default: int = 0) -> int:
    """An int, the default for what is missing, empty or not a number."""
    made = number(value)
    return default if made is None else int(made)


def taken(header: Dataset) -> str:
    """When it was acquired, as airouter.domain.prior.when says it; empty where an attribute is malformed."""
    try:
        return when(*(header.get(keyword) for keyword in ("AcquisitionDateTime", "StudyDate", "StudyTime")))
    except MALFORMED:
        return ""


def pixel_spacing_um(header: Dataset) -> tuple[float, float] | None:
    """(between rows, between columns) in um from Pixel Measures, shared or equal in every frame (PS3.3 C.7.6.16.2.1).

    None where it is missing, not positive, or differs between frames. Nothing else is taken in its place: Imager Pixel
    Spacing is not that of the object, and the imaged volume of a slide is what was scanned, which need not be what the
    pixel matrix holds.
    """
    shared = first_item(header, "SharedFunctionalGroupsSequence", "PixelMeasuresSequence")
    if shared is not None:
        return _spacing(shared)
    groups = header.get("PerFrameFunctionalGroupsSequence") or []
    found = {_spacing(first_item(group, "PixelMeasuresSequence")) for group in groups}
    return found.pop() if len(found) == 1 else None


def _spacing(measures: Dataset | None) -> tuple[float, float] | None:
    values = measures.get("PixelSpacing") if measures is not None else None
    if values is None or isinstance(values, str | float) or len(values) != 2:
        return None
    rows, columns = number(values[0]), number(values[1])
    if rows is None or columns is None or rows <= 0 or columns <= 0:
        return None
    return rows * 1000.0, columns * 1000.0


def laterality(header: Dataset) -> Laterality | None:
    """Which eye: Image Laterality, Frame Laterality of the shared and of each frame's functional groups, Laterality.

    None where nothing is said, it is said to be unknown (U), or two of them contradict each other.
    """
    groups = [
        *(header.get("SharedFunctionalGroupsSequence") or []),
        *(header.get("PerFrameFunctionalGroupsSequence") or []),
    ]
    anatomy = [first_item(group, "FrameAnatomySequence") for group in groups]
    return Laterality.agreed(
        (
            header.get("ImageLaterality"),
            *(item.get("FrameLaterality") for item in anatomy if item is not None),
            header.get("Laterality"),
            header.get("MeasurementLaterality"),
        )
    )
