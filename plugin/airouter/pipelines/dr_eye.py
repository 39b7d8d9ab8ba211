"""One grade of diabetic retinopathy for an eye from several photographs of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain.model import ModelClass
from airouter.domain.study import Laterality
from airouter.imaging.fundus import Fundus
from airouter.pipelines.dr_lesions import MACULAR_DISC_DIAMETERS, LesionMap
from airouter.pipelines.photograph_quality import Gradability

# Classes of a model of the international clinical scale, 0 to 4 (Wilkinson CP et al. Ophthalmology 2003;110:1677-1682).
CLASSES: Final = ("no-retinopathy", "mild", "moderate", "severe", "proliferative")
EYES: Final = (Laterality.R, Laterality.L)
SIDE: Final = {Laterality.R: "right eye", Laterality.L: "left eye"}


@dataclass(frozen=True, slots=True, eq=False)
class Photograph:
    """One photograph of an eye that was judged. `number`: its place in the study, from 1.

    `quality` is None where it shows no field to judge; then `unusable` says why. `probabilities` of CLASSES and
    `lesions` only of one that can be graded, and where there is a model for it.
    """

    number: int
    image: Fundus
    eye: Laterality
    quality: Gradability | None
    unusable: str = ""
    probabilities: NDArray[np.float32] | None = field(default=None, repr=False)
    lesions: LesionMap | None = None

    @property
    def grade(self) -> int:
        """The most probable grade, of equals the worse. Only of one that can be graded."""
        if self.probabilities is None:
            raise ValueError("a photograph that cannot be graded has no grade")
        return len(CLASSES) - 1 - int(self.probabilities[::-1].argmax())

    @property
    def certainty(self) -> float:
        """The probability of its grade, 0..1."""
        return 0.0 if self.probabilities is None else float(self.probabilities[self.grade])

    @property
    def against(self) -> str:
        """Why it cannot be graded, empty where it can."""
        if self.quality is None:
            return self.unusable.removeprefix("not analysed because ")
        return "" if self.quality.gradable else self.quality.named or "the model says so"


@dataclass(frozen=True, slots=True, eq=False)
class Eye:
    """The photographs of one eye, at least one."""

    side: Laterality
    photographs: tuple[Photograph, ...]

    @property
    def name(self) -> str:
        return SIDE[self.side]

    @property
    def graded(self) -> tuple[Photograph, ...]:
        return tuple(each for each in self.photographs if each.probabilities is not None)

    @property
    def deciding(self) -> Photograph | None:
        """The gradable photograph with the worst grade; None where there is none.

        Of several with that grade the most certain one, of no retinopathy the least certain: that an eye has none is
        no surer than the photograph in which it is least sure.
        """
        if not self.graded:
            return None
        worst = max(each.grade for each in self.graded)
        same = [each for each in self.graded if each.grade == worst]
        return (max if worst else min)(same, key=lambda each: (each.certainty, -each.number))

    @property
    def grade(self) -> int | None:
        return self.deciding.grade if self.deciding else None

    @property
    def least_certainty(self) -> float:
        """Of the grades of all its gradable photographs, 0 where there is none."""
        return min((each.certainty for each in self.graded), default=0.0)

    @property
    def reasons(self) -> tuple[tuple[ModelClass, float], ...]:
        """Why its photographs cannot be graded, each reason once with its highest probability."""
        found: dict[str, tuple[ModelClass, float]] = {}
        for each in self.photographs:
            for reason, probability in each.quality.reasons if each.quality and not each.quality.gradable else ():
                if probability > found.get(reason.name, (reason, -1.0))[1]:
                    found[reason.name] = (reason, probability)
        return tuple(sorted(found.values(), key=lambda r: -r[1]))

    @property
    def placed(self) -> tuple[Photograph, ...]:
        """Those in which the fovea and the disc were found where this eye has them."""
        return tuple(each for each in self.graded if each.lesions is not None and each.lesions.unplaced is None)

    @property
    def nearest_exudate(self) -> tuple[float, Photograph] | None:
        """Distance of the hard exudate nearest to the fovea in disc diameters, and where; None if nothing is placed."""
        away = [(distance, each) for each in self.placed if (distance := _distance(each)) is not None]
        return min(away, key=lambda pair: (pair[0], pair[1].number), default=None)

    @property
    def oedema(self) -> bool | None:
        """Whether macular oedema is suspected by the surrogate; None where it could not be looked for."""
        found = self.nearest_exudate
        return None if found is None else found[0] <= MACULAR_DISC_DIAMETERS

    @property
    def grade_by_lesions(self) -> int | None:
        """The worst grade that the lesions of one photograph give, None without a model of them.

        Photographs overlap: lesions of several are never added up.
        """
        return max((each.lesions.grade() for each in self.graded if each.lesions is not None), default=None)

    def disagreement(self) -> int:
        """Levels between the grade of the model and that of the lesions, 0 where one of them is missing."""
        grade, other = self.grade, self.grade_by_lesions
        return abs(grade - other) if grade is not None and other is not None else 0

    @property
    def mirrored(self) -> bool:
        return any(each.lesions is not None and each.lesions.mirrored for each in self.graded)


def _distance(each: Photograph) -> float | None:
    return each.lesions.exudate_distance() if each.lesions is not None else None


def eyes(photographs: Sequence[Photograph]) -> tuple[Eye, ...]:
    """The eyes that were photographed, the right one first."""
    groups = ((side, tuple(each for each in photographs if each.eye is side)) for side in EYES)
    return tuple(Eye(side, members) for side, members in groups if members)
