"""HER2 immunohistochemistry from the membranes of tumour cells.

Wolff AC et al. Human epidermal growth factor receptor 2 testing in breast cancer: American Society of Clinical
Oncology/College of American Pathologists clinical practice guideline focused update. J Clin Oncol 2018;36:2105-2122.
"""

from dataclasses import dataclass
from typing import Final

from airouter.domain import codes
from airouter.domain.code import Code

# Share of the tumour cells, in %, that a pattern must exceed.
_EXTENT: Final = 10.0

VALUES: Final = (codes.HER2_0, codes.HER2_1, codes.HER2_2, codes.HER2_3)
NAMES: Final = ("0", "1+", "2+", "3+")


@dataclass(frozen=True, slots=True)
class Her2:
    """A score 0 to 3 and what decided it."""

    score: int
    reason: str

    @property
    def value(self) -> Code:
        return VALUES[self.score]

    @property
    def name(self) -> str:
        return NAMES[self.score]


def score(
    none: float, faint: float, moderate: float, strong: float, *, incomplete: float = 0.0, least_strong: float = 0.0
) -> Her2:
    """The score of a tumour from the percentages of its cells, which add up to 100.

    3+: complete and intense in more than 10 %. 2+: complete, at least weak to moderate, in more than 10 %; or complete
    and intense in no more than that; or moderate to intense and incomplete in more than 10 %, which the guideline's
    notes on unusual patterns let be equivocal. 1+: any staining in more than 10 %. 0: else.

    Args:
        none, faint, moderate, strong: percentages of the cells of membrane class 0, 1+, 2+ and 3+.
        incomplete: percentage of the cells of class 1+ whose staining is moderate or intense.
        least_strong: percentage of class 3+ below which they decide nothing: a misread cell must not make a tumour 2+.

    Raises:
        ValueError: the percentages are no parts of 100.
    """
    shares = (none, faint, moderate, strong)
    if min(shares) < 0 or abs(sum(shares) - 100.0) > 1e-6 or not 0 <= incomplete <= faint + 1e-9:
        raise ValueError(f"percentages of cells must add up to 100, not {shares}, incomplete {incomplete}")
    if strong > _EXTENT:
        return Her2(3, f"complete and intense in {strong:.1f} % of the tumour cells")
    if moderate + strong > _EXTENT:
        return Her2(2, f"complete, weak to moderate or intense, in {moderate + strong:.1f} % of the tumour cells")
    if moderate + strong + incomplete > _EXTENT:
        return Her2(2, f"moderate to intense, in part incomplete, in {moderate + strong + incomplete:.1f} %")
    if strong > 0 and strong >= least_strong:
        return Her2(2, f"complete and intense in {strong:.1f} % of the tumour cells, no more than {_EXTENT:g} %")
    if faint + moderate + strong > _EXTENT:
        return Her2(1, f"faint or incomplete in {faint + moderate + strong:.1f} % of the tumour cells")
    return Her2(0, f"any staining in {faint + moderate + strong:.1f} % of the tumour cells, no more than {_EXTENT:g} %")
