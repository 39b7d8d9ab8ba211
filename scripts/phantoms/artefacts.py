"""Artefacts of slides, laid over any RGB picture with the truth of where they are.

The pictures may be real or generated; lengths are in micrometres, so that an artefact has its own size at every pixel
spacing. What is simulated, and how:

- **defocus**: a point becomes the disc that geometrical optics gives it, of radius dz * NA / sqrt(1 - NA^2) for a
  distance dz from the focal plane (`blur_radius_um`), or a Gaussian of half that radius as its standard deviation;
- **fold**: a band in which tissue lies twice. Absorbances add (Beer-Lambert law), so the optical density of the band is
  that of the tissue and that of the tissue beside it together; both lie above the focal plane;
- **stain**: the optical density of the tissue times a factor, below 1 understained and above it overstained;
- **pen**: a stroke of saturated ink on the cover slip, nearly opaque, with streaks along it and a soft edge;
- **bubble**: a disc of air in the mounting medium. Light is refracted away at its rim, which is dark with a bright line
  inside; what lies under it is out of focus;
- **cover slip**: the edge of the glass, a straight refracting line, dark with a bright line beside it. Beyond it there
  is no cover slip: out of focus, and darker, because a dry surface scatters;
- **stripes**: periodic change of brightness across the strips of a line scanner or the fields of an area scanner.

Blur and brightness act on the 8-bit values as they are, not on linear light. Real artefacts come in more forms.
"""

from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
_Floats = npt.NDArray[np.float32]

_TISSUE_OD: Final = 0.03  # mean optical density from which on a pixel counts as tissue
_AROUND_UM: Final = 3.0  # smoothing before that is asked: gaps between fibres are tissue too


@dataclass(frozen=True)
class Spoiled:
    """A picture with an artefact: uint8 [rows, columns, 3] and bool [rows, columns], where it is."""

    rgb: Image
    mask: Mask


def blur_radius_um(defocus_um: float, aperture: float = 0.75) -> float:
    """Radius of the disc that a point becomes, `defocus_um` from the focal plane of an objective in air."""
    return abs(defocus_um) * aperture / float(np.sqrt(1.0 - aperture**2))


def tissue(rgb: Image, um: float) -> Mask:
    """Where there is tissue: what absorbs more light than the brightest of the picture, smoothed over a few um."""
    od = cv2.GaussianBlur(_od(rgb, _white(rgb)).mean(axis=2), (0, 0), max(0.5, _AROUND_UM / um))
    return np.asarray(od > _TISSUE_OD, np.bool_)


def defocus(
    rgb: Image, um: float, radius_um: float, where: Mask | None = None, kind: Literal["disc", "gaussian"] = "disc"
) -> Spoiled:
    """Out of focus in `where` (everywhere if None). The mask is the tissue in it: glass looks the same in any focus."""
    region = np.ones(rgb.shape[:2], np.bool_) if where is None else where
    blurred = _blurred(rgb, radius_um / um, kind)
    share = _soft(region, 4.0 / um)[..., None]
    return Spoiled(_bytes(rgb * (1.0 - share) + blurred * share), region & tissue(rgb, um))


def fold(
    rgb: Image, um: float, line: npt.NDArray[np.floating], width_um: float, shift_um: tuple[float, float]
) -> Spoiled:
    """Tissue folded over along `line` (float [n, 2] of (column, row) in pixels), in a band of `width_um`.

    The upper layer is the tissue `shift_um` (down, right) away. The mask is the band where any layer is tissue.
    """
    band = _stroke(rgb.shape[:2], line, width_um / um)
    down, right = (shift / um for shift in shift_um)
    moved = cv2.warpAffine(
        rgb, np.array([[1.0, 0.0, right], [0.0, 1.0, down]], np.float32), rgb.shape[1::-1],
        borderMode=cv2.BORDER_REFLECT_101,
    )  # fmt: skip
    white = _white(rgb)
    layers = _od(rgb, white) + 1.1 * _od(np.asarray(moved, np.uint8), white)
    doubled = _blurred(_rgb(layers, white), 1.5 / um, "gaussian")
    share = _soft(band, 1.0 / um)[..., None]
    either = tissue(rgb, um) | tissue(np.asarray(moved, np.uint8), um)
    return Spoiled(_bytes(rgb * (1.0 - share) + doubled * share), band & either)


def stain(rgb: Image, um: float, factor: float, where: Mask | None = None) -> Spoiled:
    """Tissue stained `factor` times as much. The mask is the tissue in `where` (everywhere if None)."""
    region = np.ones(rgb.shape[:2], np.bool_) if where is None else where
    share = _soft(region, 8.0 / um)[..., None]
    white = _white(rgb)
    stained = _rgb(_od(rgb, white) * (1.0 + (factor - 1.0) * share), white)
    return Spoiled(np.where(share > 0.0, stained, rgb), region & tissue(rgb, um))


def pen(
    rgb: Image,
    um: float,
    line: npt.NDArray[np.floating],
    width_um: float,
    colour: tuple[int, int, int] = (20, 40, 150),
    opacity: float = 0.92,
    seed: int = 0,
) -> Spoiled:
    """A stroke of ink along `line` (float [n, 2] of (column, row) in pixels), `width_um` wide."""
    stroke = _stroke(rgb.shape[:2], line, width_um / um)
    rng = np.random.default_rng(seed)
    streaks = cv2.GaussianBlur(rng.standard_normal(rgb.shape[:2], np.float32), (0, 0), max(1.0, 6.0 / um), sigmaY=1.5)
    streaks /= max(float(streaks.std()), 1e-6)
    share = (_soft(stroke, 2.0 / um) * np.clip(opacity + 0.05 * streaks, 0.0, 1.0))[..., None]
    ink = np.array(colour, np.float32) + 4.0 * streaks[..., None]
    return Spoiled(_bytes(rgb * (1.0 - share) + ink * share), stroke)


def bubble(
    rgb: Image,
    um: float,
    centre: tuple[float, float],
    radius_um: float,
    rim_um: float = 14.0,
    blur_um: float = 6.0,
    brightness: float = 1.0,
) -> Spoiled:
    """A bubble of air around `centre` (column, row in pixels). The mask is the disc with its rim."""
    away = _away(rgb.shape[:2], centre, um)
    inside = away <= radius_um
    dark = np.exp(-(((radius_um - away) / (0.5 * rim_um)) ** 2))
    bright = np.exp(-(((radius_um - away - 1.3 * rim_um) / (0.35 * rim_um)) ** 2))
    share = _soft(inside, 1.5 / um)[..., None]
    seen = rgb * (1.0 - share) + _blurred(rgb, blur_um / um, "disc") * brightness * share
    light = (1.0 - 0.85 * dark)[..., None]
    return Spoiled(_bytes(seen * light + 40.0 * bright[..., None]), inside)


def coverslip(
    rgb: Image,
    um: float,
    point: tuple[float, float],
    angle: float,
    line_um: float = 12.0,
    blur_um: float = 6.0,
    brightness: float = 0.85,
) -> Spoiled:
    """The edge of the cover slip through `point` (column, row in pixels); beyond is where `angle` (radians) points."""
    rows, columns = np.indices(rgb.shape[:2], np.float32) + 0.5
    beyond_um = ((columns - point[0]) * np.cos(angle) + (rows - point[1]) * np.sin(angle)) * um
    beyond = beyond_um >= -0.5 * line_um
    share = _soft(beyond, 1.5 / um)[..., None]
    seen = rgb * (1.0 - share) + _blurred(rgb, blur_um / um, "disc") * brightness * share
    dark = np.exp(-((beyond_um / (0.5 * line_um)) ** 2))
    bright = np.exp(-(((beyond_um + 1.2 * line_um) / (0.4 * line_um)) ** 2))
    return Spoiled(_bytes(seen * (1.0 - 0.7 * dark)[..., None] + 25.0 * bright[..., None]), beyond)


def stripes(
    rgb: Image, um: float, period_um: float, amplitude: float, *, across: bool = True, phase: float = 0.0
) -> Spoiled:
    """Brightness times 1 + `amplitude` and 1 - `amplitude` in turn, each for half of `period_um`.

    Strips lie side by side `across` the columns, else below each other. The mask is the whole picture.
    """
    rows, columns = rgb.shape[:2]
    place = (np.arange(columns if across else rows) + 0.5) * um / period_um + phase
    wave = np.tanh(8.0 * np.sin(2.0 * np.pi * place)) * amplitude  # strips with borders a little soft
    light = (1.0 + wave)[None, :, None] if across else (1.0 + wave)[:, None, None]
    return Spoiled(_bytes(rgb * light), np.ones((rows, columns), np.bool_))


def line_through(shape: tuple[int, int], rng: np.random.Generator, bend: float = 0.25) -> npt.NDArray[np.float32]:
    """A gently bent line across a picture, from beyond one side of it to beyond another: float [n, 2]."""
    rows, columns = shape
    side = float(np.hypot(rows, columns))
    centre = np.array([rng.uniform(0.2, 0.8) * columns, rng.uniform(0.2, 0.8) * rows])
    angle = rng.uniform(0.0, 2.0 * np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    aside = np.array([-along[1], along[0]])
    t = np.linspace(-1.0, 1.0, 24)
    offset = bend * rng.uniform(-1.0, 1.0) * t**2 + 0.05 * np.sin(6.0 * t + rng.uniform(0.0, 6.0))
    return np.asarray(centre + side * (t[:, None] * along + offset[:, None] * aside), np.float32)


def patch_of(shape: tuple[int, int], rng: np.random.Generator) -> Mask:
    """An irregular part of a picture with a smooth border: half-planes of smooth noise."""
    rows, columns = shape
    grid = rng.standard_normal((4, 4)).astype(np.float32)
    field = cv2.resize(grid, (columns, rows), interpolation=cv2.INTER_CUBIC)
    return np.asarray(field > np.quantile(field, rng.uniform(0.2, 0.8)), np.bool_)


def _white(rgb: Image) -> _Floats:
    """What the lamp gives without tissue: the brightest of each channel, float32 [3]."""
    return np.asarray(np.clip(np.percentile(rgb.reshape(-1, 3), 99.5, axis=0), 200.0, 255.0), np.float32)


def _od(rgb: Image, white: _Floats) -> _Floats:
    return np.asarray(-np.log10(np.clip(rgb.astype(np.float32) / white, 1.0 / 255.0, 1.0)), np.float32)


def _rgb(od: npt.NDArray[np.floating], white: _Floats) -> Image:
    return _bytes(white * np.power(10.0, -np.maximum(od, 0.0)))


def _bytes(values: npt.NDArray[np.floating]) -> Image:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _blurred(rgb: Image, radius: float, kind: Literal["disc", "gaussian"]) -> _Floats:
    """The picture through a disc of `radius` pixels with anti-aliased edge, or a Gaussian of half that width."""
    if kind == "gaussian":
        return np.asarray(cv2.GaussianBlur(rgb.astype(np.float32), (0, 0), max(0.05, radius / 2.0)), np.float32)
    reach = int(np.ceil(radius)) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.clip(radius + 0.5 - np.hypot(x, y), 0.0, 1.0).astype(np.float32)
    blurred = cv2.filter2D(rgb.astype(np.float32), -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred, np.float32)


def _soft(mask: Mask, pixels: float) -> _Floats:
    """0..1: the mask with its border drawn out over about so many pixels."""
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(0.3, pixels / 2.0)), np.float32)


def _stroke(shape: tuple[int, ...], line: npt.NDArray[np.floating], width: float) -> Mask:
    canvas = np.zeros(shape[:2], np.uint8)
    points = np.rint(np.asarray(line, np.float64) * 16.0).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(canvas, [points], False, 1, max(1, round(width)), shift=4)
    return canvas.astype(np.bool_)


def _away(shape: tuple[int, ...], centre: tuple[float, float], um: float) -> _Floats:
    rows, columns = np.indices(shape[:2], np.float32) + 0.5
    return np.asarray(np.hypot(columns - centre[0], rows - centre[1]) * um, np.float32)
