"""PD-L1 scores from counts of cells.

TPS: tumour cells with partial or complete membrane staining of any intensity, of 100 viable tumour cells. CPS: stained
tumour cells, lymphocytes and macrophages, of 100 viable tumour cells, at most 100. Kulangara K et al. Clinical utility
of the combined positive score for programmed death ligand-1 expression and the approval of pembrolizumab for treatment
of gastric cancer. Arch Pathol Lab Med 2019;143:330-337. Both need at least 100 viable tumour cells.
"""

from typing import Final

LEAST_CELLS: Final = 100


def tps(stained: int, tumour: int) -> float:
    """Tumour proportion score in %, 0 to 100.

    Raises:
        ValueError: there is no tumour cell, or more are stained than there are.
    """
    if not 0 <= stained <= tumour or not tumour:
        raise ValueError(f"{stained} stained of {tumour} tumour cells")
    return 100.0 * stained / tumour


def cps(stained: int, immune: int, tumour: int) -> float:
    """Combined positive score, 0 to 100: no percentage, because immune cells are no part of the tumour cells.

    Args:
        stained: stained tumour cells.
        immune: stained lymphocytes and macrophages.
        tumour: viable tumour cells.

    Raises:
        ValueError: as `tps`, or the number of immune cells is negative.
    """
    if immune < 0:
        raise ValueError(f"{immune} stained immune cells")
    return min(100.0, tps(stained, tumour) + 100.0 * immune / tumour)
