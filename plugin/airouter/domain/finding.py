"""What a pipeline found, before it becomes DICOM.

Coordinates are (column, row) in pixels of the image that `source` names, the centre of its top left pixel being
(0.5, 0.5) as in PS3.3 C.10.5.1.2 and C.18.6. For a slide that image is the total pixel matrix of one level.
`airouter.evidence` turns them into slide millimetres where an object asks for it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain.code import Code
from airouter.domain.picture import Chart, Picture, Registration, ThicknessMap
from airouter.domain.priority import Verdict
from airouter.domain.rescan import Fitness
from airouter.domain.study import Laterality


@dataclass(frozen=True, slots=True)
class Measurement:
    """A number with its concept and UCUM unit. Raises ValueError unless the number is finite."""

    name: Code
    value: float
    unit: Code

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"{self.name.meaning} is not a finite number")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A qualitative answer: concept name and coded value."""

    name: Code
    value: Code


@dataclass(frozen=True, slots=True)
class Region:
    """Where a finding lies: POINT, POLYLINE or POLYGON on one source image.

    `points` is float64 [n, 2] of (column, row); a POLYGON is closed without repeating its first point.
    `frame` is the 1-based frame number of a multi-frame image, None for a slide's total pixel matrix or a single frame.
    """

    graphic: str
    source: str
    points: NDArray[np.float64]
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """The finding of an earlier job that something was inferred from: its report, and its Tracking UID in there."""

    label: str
    sop_class: str
    uid: str
    series_uid: str
    study_uid: str
    tracking_uid: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One measurement group of the report. `label` names it for people and must not contain parentheses.

    `key` is unique within the result and stable between runs: tracking UIDs are derived from it. `method`: how its
    numbers are defined and made (Measurement Method). `origins`: the findings of other jobs it was inferred from.
    """

    key: str
    label: str
    finding: Code
    region: Region | None = None
    site: Code | None = None
    laterality: Laterality | None = None
    measurements: tuple[Measurement, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    comment: str | None = None
    method: Code | None = None
    origins: tuple[Origin, ...] = ()

    def __post_init__(self) -> None:
        if "(" in self.label or ")" in self.label:
            # OHIF parses what stands in parentheses of a Tracking Identifier as JSON and throws.
            raise ValueError(f"a finding's label must not contain parentheses: {self.label!r}")


@dataclass(frozen=True, slots=True)
class NotAnalysed:
    """A quantity the reader may expect and did not get; `reason` begins with "not analysed because"."""

    quantity: str
    reason: str


@dataclass(frozen=True, slots=True)
class Segment:
    """One class of a segmentation; `number` is its value in the mask, starting at 1 without gaps."""

    number: int
    label: str
    category: Code
    type: Code


@dataclass(frozen=True, slots=True)
class Segmentation:
    """A label mask on a source image.

    Slide: `mask` is uint8 [rows, columns], covering the whole level `source` at a coarser grid of `factor` level pixels
    per mask pixel. OCT and photographs: uint8 [frames, rows, columns] on the source's own pixels, `frames` giving
    the 1-based source frame of each plane.
    """

    role: str
    label: str
    source: str
    mask: NDArray[np.uint8]
    segments: tuple[Segment, ...]
    factor: int = 1
    frames: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class AnnotationGroup:
    """Many like objects (nuclei) on a slide level.

    `points` is float32 [n, 2] of (column, row) in level pixels; object k owns points[starts[k]:starts[k + 1]]
    (`starts` int64 [k + 1]). `measurements` maps (name, unit) to float32 [k].
    """

    role: str
    label: str
    source: str
    graphic: str  # POLYGON | POINT
    category: Code
    type: Code
    points: NDArray[np.float32]
    starts: NDArray[np.int64]
    measurements: Mapping[tuple[Code, Code], NDArray[np.float32]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.starts) - 1


# In a parametric map: this cell has no value. Below every value that a map may hold.
NO_VALUE: Final = -1.0


@dataclass(frozen=True, slots=True)
class ParametricMap:
    """A value per field of a slide level: float32 [rows, columns], NaN-free, one cell = `factor` level pixels.

    Values are 0 or more; a cell of `NO_VALUE` was not measured. `finding`: what the quantity is of, where its name does
    not say it, as of a probability.
    """

    role: str
    label: str
    source: str
    values: NDArray[np.float32]
    quantity: Code
    unit: Code
    factor: int
    finding: Code | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """A rectangle of whole pixels on a slide level: top left corner at (`row`, `column`), `rows` x `columns` large."""

    source: str
    row: int
    column: int
    rows: int
    columns: int


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """A slide as vectors of one model, all of length 1, so that their dot product is the cosine of their angle.

    `slide`: float32 [values], all of its tissue; `regions`: float32 [n, values], one of each of the `fields`, the most
    typical first; `shares`: part of the tissue, 0..1, that looks most like each of them. `taken`: when the slide was
    acquired, as up to 14 digits YYYYMMDDHHMMSS, empty where its header does not say. Raises ValueError unless the
    vectors are finite and of length 1, and as many as there are fields.
    """

    slide: NDArray[np.float32]
    regions: NDArray[np.float32]
    fields: tuple[Field, ...]
    shares: tuple[float, ...]
    taken: str = ""

    def __post_init__(self) -> None:
        vectors = np.vstack([self.slide[None], self.regions])
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
        if not np.allclose(lengths, 1.0, rtol=0.0, atol=1e-3):  # NaN is not close either
            raise ValueError("an embedding's vectors must be of length 1")
        if not len(self.regions) == len(self.fields) == len(self.shares):
            raise ValueError(f"{len(self.regions)} vectors of {len(self.fields)} fields, {len(self.shares)} shares")


@dataclass(frozen=True, slots=True)
class Ungradable:
    """The image is not fit for the model: a result of its own, with the reason, instead of a guessed number."""

    reason: str


@dataclass(frozen=True, slots=True)
class Result:
    """Everything one job found. `execution_provider` is what really ran the model.

    `embedding` is kept by the router for the search of similar cases and never becomes DICOM. `fitness`: whether the
    slide can be read, where that was asked. Raises ValueError where the verdict rests on a finding that is not there.
    """

    findings: tuple[Finding, ...]
    verdict: Verdict
    segmentations: tuple[Segmentation, ...] = ()
    annotations: tuple[AnnotationGroup, ...] = ()
    maps: tuple[ParametricMap, ...] = ()
    not_analysed: tuple[NotAnalysed, ...] = ()
    execution_provider: str = ""
    embedding: Embedding | None = None
    fitness: Fitness | None = None
    pictures: tuple[Picture, ...] = ()
    thickness_maps: tuple[ThicknessMap, ...] = ()
    registrations: tuple[Registration, ...] = ()
    charts: tuple[Chart, ...] = ()

    def __post_init__(self) -> None:
        grounds = {key for ground in self.verdict.grounds for key in ground.findings}
        if unknown := sorted(grounds - {finding.key for finding in self.findings}):
            raise ValueError(f"the verdict rests on findings that the result has not: {', '.join(unknown)}")
