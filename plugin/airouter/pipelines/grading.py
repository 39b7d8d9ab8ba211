"""The Nottingham grade of invasive breast cancer from its three components: rules and nothing else.

Elston CW, Ellis IO. Pathological prognostic factors in breast cancer. I. Histopathology 1991;19:403-410. Each component
has 1, 2 or 3 points: 3 to 5 points are grade 1, 6 and 7 grade 2, 8 and 9 grade 3.
"""

from dataclasses import dataclass
from typing import Final

from airouter.domain import codes
from airouter.domain.code import Code

# Table 1 of the protocol for invasive carcinoma of the breast of the College of American Pathologists: in ten fields of
# 0.50 mm across, up to 7 mitoses have 1 point, 8 to 14 have 2, 15 and more have 3.
REFERENCE_MM2: Final = 10 * 0.196
_SECOND, _THIRD = 8, 15
_CODES: Final = {1: codes.NOTTINGHAM_1, 2: codes.NOTTINGHAM_2, 3: codes.NOTTINGHAM_3}


def tubule_score(percent: float) -> int:
    """Points for the share of the tumour that forms tubules, 0..100 %: more than 75 % has 1, less than 10 % has 3."""
    if not 0.0 <= percent <= 100.0:
        raise ValueError(f"a share must be in 0..100 %, not {percent}")
    return 1 if percent > 75.0 else 2 if percent >= 10.0 else 3


def mitosis_score(count: int, area_mm2: float) -> int:
    """Points for mitoses in an area, brought to the 1.96 mm2 of the reference in proportion and rounded half up."""
    if count < 0 or not area_mm2 > 0.0:
        raise ValueError(f"{count} mitoses in {area_mm2} mm2 cannot be scored")
    scaled = int(count * REFERENCE_MM2 / area_mm2 + 0.5)
    return 1 if scaled < _SECOND else 2 if scaled < _THIRD else 3


def pleomorphism_score(ratio: float, variation: float, marked: float) -> int:
    """Points for the size of tumour nuclei, a stand-in for what a pathologist sees of their shape and chromatin.

    `ratio`: their mean area by that of normal epithelial nuclei. Less than 1.5 has 1 point, up to 2 has 2, more has 3;
    nuclei of 1.5 and more whose area varies by `marked` or more (coefficient of `variation`) have 3.
    """
    if not (ratio > 0.0 and variation >= 0.0):
        raise ValueError(f"a ratio of {ratio} with a variation of {variation} cannot be scored")
    if ratio < 1.5:
        return 1
    return 3 if ratio > 2.0 or variation >= marked else 2


@dataclass(frozen=True, slots=True)
class Nottingham:
    """All three scores, without which there is no grade. Raises ValueError unless each is 1, 2 or 3."""

    tubules: int
    pleomorphism: int
    mitoses: int

    def __post_init__(self) -> None:
        if not {self.tubules, self.pleomorphism, self.mitoses} <= {1, 2, 3}:
            raise ValueError(f"scores must be 1, 2 or 3: {self}")

    @property
    def points(self) -> int:
        """Their sum, 3 to 9."""
        return self.tubules + self.pleomorphism + self.mitoses

    @property
    def grade(self) -> int:
        """1, 2 or 3."""
        return 1 if self.points <= 5 else 2 if self.points <= 7 else 3

    @property
    def code(self) -> Code:
        """The grade as CID 6069 has it."""
        return _CODES[self.grade]

    def __str__(self) -> str:
        return f"{self.tubules}+{self.pleomorphism}+{self.mitoses} = {self.points}"
