"""Generated histology with known truth: the class of every pixel, and every cell with its kind and staining.

Drawn are solid tumour and tumour glands, fibrous stroma with lymphocytes, benign glands or lymphoid tissue, necrosis
and surgical ink, in haematoxylin-eosin or in haematoxylin-DAB with a nuclear or a membranous marker. Light is absorbed
by the Beer-Lambert law (`phantoms.slide`).

It shows in a simple form what pathologists tell tissues apart by: size and variety of nuclei, how they stand, what lies
between them. It is no model of any disease: there are no vessels, nerves, fat, ducts or muscle, sizes and densities are
round figures and not those of a collective, and whoever can read histology sees at once that it is drawn. A figure
measured on it says that the machinery works, not that a model is good.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import cv2
import numpy as np
import numpy.typing as npt

from phantoms import histology_cells as cell
from phantoms import histology_layout as of
from phantoms.histology_cells import KINDS as KINDS
from phantoms.histology_layout import Kind, Side
from phantoms.histology_paint import Looks, Painted, paint

Stain = Literal["H&E", "Ki-67", "HER2", "PD-L1"]

NAMES: Final = ("background", "tumour", "tubule", "stroma", "normal", "necrosis", "ink")

# The class of each material of the layout. The stroma within benign lobules is part of them.
_CLASS: Final = np.zeros(11, np.uint8)
for _material, _name in {
    of.TUMOUR: "tumour", of.EPITHELIUM: "tubule", of.LUMEN: "tubule", of.STROMA: "stroma", of.LOOSE: "normal",
    of.ACINUS: "normal", of.SPACE: "normal", of.LYMPHOID: "normal", of.NECROSIS: "necrosis", of.INK: "ink",
}.items():  # fmt: skip
    _CLASS[_material] = NAMES.index(_name)

_ROWS: Final = 1024  # looked at in one go


@dataclass(frozen=True)
class Histology:
    """A generated slide and its truth.

    Attributes:
        rgb: uint8 rows x columns x 3.
        spacing_um: size of a pixel in um.
        stain: "H&E" or "H-DAB".
        classes: uint8 rows x columns, index into NAMES; background is glass, the lumen of tumour glands is tubule.
        labels: int32 rows x columns; 0 is no nucleus, k is nucleus k.
        kind: uint8 [n + 1], index into KINDS for nucleus k; position 0 is "none".
        positive: bool [n + 1], whether the nucleus is brown (Ki-67).
        membrane: uint8 [n + 1], of HER2 and PD-L1: 0 none, 1 faint and incomplete, 2 weak to moderate and complete,
            3 strong and complete. In PD-L1 a lymphocyte that counts as stained has 2, any other 0.
        centres: int64 [n + 1, 2], row and column of each nucleus; position 0 is (0, 0).
        margin_um: least distance between tumour and ink in um; None without ink or tumour.
    """

    rgb: npt.NDArray[np.uint8] = field(repr=False)
    spacing_um: float
    stain: str
    classes: npt.NDArray[np.uint8] = field(repr=False)
    labels: npt.NDArray[np.int32] = field(repr=False)
    kind: npt.NDArray[np.uint8] = field(repr=False)
    positive: npt.NDArray[np.bool_] = field(repr=False)
    membrane: npt.NDArray[np.uint8] = field(repr=False)
    centres: npt.NDArray[np.int64] = field(repr=False)
    margin_um: float | None

    def mm2(self, *names: str) -> float:
        """Area of classes in mm2."""
        pixels = np.bincount(self.classes.ravel(), minlength=len(NAMES))
        return float(sum(pixels[NAMES.index(name)] for name in names)) * self.spacing_um**2 * 1e-6

    def of_kind(self, name: str) -> npt.NDArray[np.int64]:
        """The numbers of the nuclei of a kind."""
        return np.flatnonzero(self.kind == KINDS.index(name))

    @property
    def til(self) -> float:
        """Share of the stroma that nuclei of lymphocytes cover, 0..1."""
        stroma = self.classes == NAMES.index("stroma")
        held = (self.kind == cell.LYMPHOCYTE)[self.labels] & stroma
        return float(held.sum()) / max(1, int(stroma.sum()))


def histology(
    rows: int,
    cols: int,
    spacing_um: float,
    *,
    kind: Kind = "breast",
    stain: Stain = "H&E",
    seed: int = 0,
    tumour: float = 0.4,
    tubules: float = 0.3,
    necrosis: float = 0.0,
    normal: float = 0.12,
    til: float = 0.08,
    intraepithelial: float = 0.0,
    mitoses_per_mm2: float = 4.0,
    pleomorphism: int = 2,
    centre: tuple[float, float] = (0.5, 0.5),
    edge: bool = True,
    ink: Side | None = None,
    margin_um: float = 0.0,
    deposits_um: Sequence[float] = (),
    positive: float = 0.25,
    positive_lymphocytes: float = 0.05,
    membrane: Sequence[float] = (0.25, 0.25, 0.25, 0.25),
    variation: float = 0.0,
) -> Histology:
    """Make a slide. The same arguments give the same slide.

    Areas are reached where there is room for them: `Histology` says what was made.

    Args:
        rows, cols: size in pixels, each at least 64 um.
        spacing_um: size of a pixel in um, 0.1 to 4; nuclei are told apart up to about 1.
        kind: "breast" (a tumour with stroma and benign lobules) or "lymph-node" (lymphoid tissue with deposits).
        tumour: share of the tissue that is tumour, solid and glands, 0..0.7. Breast.
        tubules: share of the tumour that forms glands. Breast.
        necrosis: share of the tissue. Breast.
        normal: share of the tissue that is benign lobules. Breast.
        til: share of the stroma that nuclei of lymphocytes cover, up to about 0.4. Breast.
        intraepithelial: lymphocytes for each place of a tumour cell.
        mitoses_per_mm2: of tumour, in patches; the count is this times the tumour's area, rounded. Places that are
            taken may lower it.
        pleomorphism: 1..3: size and variety of tumour nuclei (8 to 10 um; 8 to 15 um), pale chromatin, nucleoli.
        centre: of the tumour (the first deposit), as shares of rows and columns.
        edge: whether the tissue ends within the picture; else it fills it.
        ink: the side of the specimen that is inked.
        margin_um: distance that tumour keeps from the ink, and reaches in one place. Needs `ink`.
        deposits_um: greatest diameters of tumour deposits in um, round to a few per cent. Lymph node.
        positive: Ki-67: share of tumour nuclei that are brown, in patches; mitoses are.
        positive_lymphocytes: share of lymphocytes that are stained, Ki-67 and PD-L1.
        membrane: HER2 and PD-L1: shares of tumour cells of classes 0 to 3, in patches.
        variation: 0..1, how far dyes and their strengths may lie from the publication's.
        seed: of the random generator.

    Raises:
        ValueError: an argument is out of its range, or a deposit does not fit.
    """
    shares = (tumour, tubules, necrosis, normal, til, intraepithelial, positive, positive_lymphocytes, variation)
    if not 0.1 <= spacing_um <= 4 or min(rows, cols) * spacing_um < 64:
        raise ValueError("a slide needs 64 um on each side and pixels of 0.1 to 4 um")
    if not all(0 <= share <= 1 for share in shares) or tumour + necrosis + normal > 1 or mitoses_per_mm2 < 0:
        raise ValueError("shares lie in 0..1, and tumour, necrosis and normal tissue together too")
    if pleomorphism not in (1, 2, 3) or len(membrane) != 4 or abs(sum(membrane) - 1) > 1e-6 or min(membrane) < 0:
        raise ValueError("pleomorphism is 1, 2 or 3, and four shares of membrane classes add up to 1")
    if stain not in ("H&E", "Ki-67", "HER2", "PD-L1") or kind not in ("breast", "lymph-node"):
        raise ValueError(f"unknown stain {stain!r} or kind {kind!r}")
    rng = np.random.default_rng(seed)
    asked = of.Plan(kind, tumour, tubules, necrosis, normal, centre, edge, ink, margin_um, tuple(deposits_um))
    laid = of.layout(rows, cols, spacing_um, asked, rng)
    material = np.empty((rows, cols), np.uint8)
    for start in range(0, rows, _ROWS):
        band = slice(start, min(start + _ROWS, rows))
        material[band] = laid.material(band, cols, spacing_um)
    board = cell.Board(material, spacing_um)
    cell.populate(board, laid, cell.Demand(til, intraepithelial, mitoses_per_mm2, pleomorphism), seed, rng)
    kinds = np.asarray(board.kinds, np.uint8)
    brown = {cell.TUMOUR: positive, cell.MITOSIS: 1.0, cell.LYMPHOCYTE: positive_lymphocytes}
    is_positive = _positive(board, kinds, brown, rng) if stain == "Ki-67" else np.zeros(len(kinds), bool)
    immune = positive_lymphocytes if stain == "PD-L1" else 0.0
    grade = np.zeros(len(kinds), np.uint8)
    if stain in ("HER2", "PD-L1"):
        grade = _membrane(board, kinds, membrane, immune, rng)
    painted = Painted(board, laid, kinds, is_positive, grade, stain)
    rgb = paint(painted, Looks.drawn(variation, rng), rng)
    classes = _CLASS[material]
    return Histology(
        rgb=rgb,
        spacing_um=spacing_um,
        stain="H&E" if stain == "H&E" else "H-DAB",
        classes=classes,
        labels=board.labels,
        kind=kinds,
        positive=is_positive,
        membrane=grade,
        centres=np.asarray(board.centres, np.int64).reshape(-1, 2),
        margin_um=_margin(classes, spacing_um) if ink is not None else None,
    )


def _positive(
    board: cell.Board, kinds: npt.NDArray[np.uint8], shares: Mapping[int, float], rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Which nuclei are brown: of each kind its share, in patches."""
    made = np.zeros(len(kinds), bool)
    for kind, share in shares.items():
        numbers = np.flatnonzero(kinds == kind)
        order = cell.patchy(board, np.asarray(board.centres, np.int64)[numbers], 500.0, 0.8, rng)
        made[numbers[order[: round(share * len(numbers))]]] = True
    return made


def _membrane(
    board: cell.Board, kinds: npt.NDArray[np.uint8], shares: Sequence[float], immune: float, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Class of each membrane: neighbours are mostly alike, so that a shared border has one colour."""
    made = np.zeros(len(kinds), np.uint8)
    centres = np.asarray(board.centres, np.int64)
    numbers = np.flatnonzero((kinds == cell.TUMOUR) | (kinds == cell.MITOSIS))
    order = cell.patchy(board, centres[numbers], 200.0, 4.0, rng)
    ends = np.rint(np.cumsum(np.asarray(shares)[::-1]) * len(numbers)).astype(int)
    for n, (begin, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        made[numbers[order[begin:end]]] = 3 - n
    immune_cells = np.flatnonzero(kinds == cell.LYMPHOCYTE)
    order = cell.patchy(board, centres[immune_cells], 200.0, 1.0, rng)
    made[immune_cells[order[: round(immune * len(immune_cells))]]] = 2
    return made


def _margin(classes: npt.NDArray[np.uint8], spacing_um: float) -> float | None:
    """Least distance between the centres of a tumour and an ink pixel in um."""
    ink = classes == NAMES.index("ink")
    tumour = np.isin(classes, [NAMES.index("tumour"), NAMES.index("tubule")])
    if not ink.any() or not tumour.any():
        return None
    away = cv2.distanceTransform((~ink).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float(away[tumour].min()) * spacing_um
