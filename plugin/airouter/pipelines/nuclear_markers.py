"""Nuclear markers that a route can name: the code of their index, and what a guideline calls it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.code import Code

KI67: Final = "Ki-67"
ER: Final = "ER"
PR: Final = "PR"

# Allison KH et al. Estrogen and progesterone receptor testing in breast cancer: ASCO/CAP guideline update. J Clin Oncol
# 2020;38:1346-1366: negative below 1 % of the tumour nuclei; of ER, 1 to 10 % are reported as low positive.
_POSITIVE: Final = 1.0
_LOW: Final = 10.0


@dataclass(frozen=True, slots=True)
class Marker:
    """`status`: concept name of the guideline's evaluation, None where there is none; `low`: it has a low range."""

    name: str
    index: Code
    status: Code | None = None
    low: bool = False

    def evaluated(self, percent: float) -> Code | None:
        """What the guideline calls this share of positive tumour nuclei."""
        if self.status is None:
            return None
        if percent < _POSITIVE:
            return codes.NEGATIVE
        return codes.ER_LOW_POSITIVE if self.low and percent <= _LOW else codes.POSITIVE


MARKERS: Final[Mapping[str, Marker]] = MappingProxyType(
    {
        KI67: Marker(KI67, codes.KI67_INDEX),
        ER: Marker(ER, codes.ER_INDEX, codes.ER_STATUS, low=True),
        PR: Marker(PR, codes.PR_INDEX, codes.PR_STATUS),
    }
)


def h_score(od: NDArray[np.float64], weak: float, moderate: float, strong: float) -> float:
    """H-score, 0 to 300: 1 x % weakly + 2 x % moderately + 3 x % strongly stained nuclei.

    McCarty KS Jr et al. Estrogen receptor analyses. Arch Pathol Lab Med 1985;109:716-721.

    Args:
        od: float64 [n], mean optical density of DAB in each nucleus.
        weak, moderate, strong: density from which on a nucleus is stained so, in rising order.

    Raises:
        ValueError: there is no nucleus, or the limits do not rise.
    """
    if not len(od) or not weak <= moderate <= strong:
        raise ValueError(f"{len(od)} nuclei, limits {weak:g}, {moderate:g}, {strong:g}")
    return float(100.0 * sum((od >= limit).sum() for limit in (weak, moderate, strong)) / len(od))
