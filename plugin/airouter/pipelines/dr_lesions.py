"""What a model of lesions sees on one photograph: disc, fovea, each lesion and its quadrant, exudates of the macula."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain.study import Laterality
from airouter.imaging.fundus import Fundus
from airouter.imaging.landmarks import Landmarks, landmarks
from airouter.imaging.spots import Spot, spots
from airouter.pipelines.photograph_maps import photograph_maps
from airouter.ports import Predictor

DISC: Final = "optic-disc"
FOVEA: Final = "fovea"
BLOOD_BEFORE: Final = "vitreous-haemorrhage"
MICROANEURYSM: Final = "microaneurysm"
HAEMORRHAGE: Final = "haemorrhage"
HARD_EXUDATE: Final = "hard-exudate"
SOFT_EXUDATE: Final = "soft-exudate"
NEOVASCULARISATION: Final = "neovascularisation"
# In the order in which they cover each other in a mask: the later lies on the earlier.
LESIONS: Final = (SOFT_EXUDATE, HAEMORRHAGE, MICROANEURYSM, HARD_EXUDATE, NEOVASCULARISATION)

QUADRANTS: Final = ("superotemporal", "superonasal", "inferotemporal", "inferonasal")

# An exudate so near to the middle of the fovea is taken for macular oedema where depth is not seen (Bresnick GH et al.
# A screening approach to the surveillance of patients with diabetes for the presence of vision-threatening
# retinopathy. Ophthalmology 2000;107:19-24; as referable oedema in Gulshan V et al. JAMA 2016;316:2402-2410).
MACULAR_DISC_DIAMETERS: Final = 1.0

# More than 20 haemorrhages in each of four quadrants are severe (Wilkinson CP et al. Proposed international clinical
# diabetic retinopathy and diabetic macular edema disease severity scales. Ophthalmology 2003;110:1677-1682).
_SEVERE_HAEMORRHAGES: Final = 20
# Blood in front of the retina covers at least so much of the field: less is taken for a mistake of the model. Own.
_BLOOD_SHARE: Final = 0.005


@dataclass(frozen=True, slots=True, eq=False)
class LesionMap:
    """The lesions of one photograph of an eye, in pixels of a copy that is `scale` times (columns, rows) as large.

    `marks`: disc and fovea, or why they are not trusted. `by_kind`: the spots of each of LESIONS, the largest first;
    `certain`: the mean probability in each of them. `blood_before`: haemorrhage in the vitreous or in front of the
    retina. `mask`: uint8 [rows, columns], n + 1 being LESIONS[n]. `eye`: which the header says.
    """

    marks: Landmarks | str
    by_kind: Mapping[str, tuple[Spot, ...]] = field(repr=False)
    certain: Mapping[str, tuple[float, ...]] = field(repr=False)
    blood_before: bool
    mask: NDArray[np.uint8] = field(repr=False)
    scale: tuple[float, float]
    eye: Laterality

    @property
    def mirrored(self) -> bool:
        """Whether the photograph shows the other eye than its header says, or is mirrored."""
        return isinstance(self.marks, Landmarks) and self.marks.contradicts(self.eye)

    @property
    def unplaced(self) -> str | None:
        """Why nothing can be said relative to the fovea, None where it can."""
        if isinstance(self.marks, str):
            return self.marks
        return "the disc lies on the side of the other eye" if self.mirrored else None

    def quadrants(self, kind: str) -> Mapping[str, int] | None:
        """How many of a kind have their centre in each quadrant about the fovea; None where that is `unplaced`."""
        if self.unplaced or isinstance(self.marks, str):
            return None
        counts = dict.fromkeys(QUADRANTS, 0)
        for spot in self.by_kind[kind]:
            up = spot.centre[1] < self.marks.fovea[1]
            nasal = (spot.centre[0] - self.marks.fovea[0]) * self.marks.nasal > 0
            counts[("supero" if up else "infero") + ("nasal" if nasal else "temporal")] += 1
        return counts

    def exudate_distance(self) -> float | None:
        """Of the hard exudate nearest to the middle of the fovea, in disc diameters; infinite where there is none.

        None where that is `unplaced`.
        """
        if self.unplaced or isinstance(self.marks, str):
            return None
        marks = self.marks
        away = (spot.distance(marks.fovea) for spot in self.by_kind[HARD_EXUDATE])
        return min(away, default=float("inf")) / marks.diameter

    def grade(self) -> int:
        """ICDR 0 to 4 by the lesions alone, after Wilkinson 2003; venous beading and IRMA are not seen.

        Without quadrants nothing is severe.
        """
        if self.by_kind[NEOVASCULARISATION] or self.blood_before:
            return 4
        counts = self.quadrants(HAEMORRHAGE)
        if counts is not None and min(counts.values()) > _SEVERE_HAEMORRHAGES:
            return 3
        if any(self.by_kind[kind] for kind in (HAEMORRHAGE, HARD_EXUDATE, SOFT_EXUDATE)):
            return 2
        return 1 if self.by_kind[MICROANEURYSM] else 0

    def image_points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points of this copy in pixels of the photograph."""
        return np.asarray(points / np.array(self.scale), np.float64)


def lesion_map(
    image: Fundus, eye: Laterality, outline: NDArray[np.float64], least_share: float, predict: Predictor
) -> LesionMap:
    """Run the model on a photograph. `outline` of its lit field; `least_share` of the field that a lesion must have.

    Raises ModelOutputError.
    """
    maps = photograph_maps(image.rgb, outline, predict)
    by_kind: dict[str, tuple[Spot, ...]] = {}
    certain: dict[str, tuple[float, ...]] = {}
    mask = np.zeros(maps.lit.shape, np.uint8)
    for number, kind in enumerate(LESIONS, start=1):
        by_kind[kind] = tuple(spots(maps.above(kind), max(1.0, least_share * maps.field_px)))
        certain[kind] = tuple(maps.certainty(kind, spot) for spot in by_kind[kind])
        for spot in by_kind[kind]:
            top, left, bottom, right = spot.box
            mask[top:bottom, left:right][spot.inside] = number
    blood = bool(spots(maps.above(BLOOD_BEFORE), _BLOOD_SHARE * maps.field_px))
    marks = landmarks(maps.above(DISC), maps.above(FOVEA), maps.field_width)
    return LesionMap(marks, by_kind, certain, blood, mask, maps.scale, eye)
