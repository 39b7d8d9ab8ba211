"""Whether an OCT volume was acquired well: signal strength, missing B-scans, a retina cut off or tilted. No model.

The signal is told from speckle by what neighbouring A-scans have in common: the retina hardly changes over a few
columns, speckle does. From the correlation r of a B-scan with itself, some columns further, r / (1 - r) is the ratio of
the variances of structure and noise (Frank J, Al-Ali L. Signal-to-noise ratio of electron micrographs obtained by cross
correlation. Nature 1975;256:376-379). It does not change with brightness and contrast of the display, by which devices
differ; that is why it is used in place of indices on grey values (Stein DM et al. Br J Ophthalmol 2006;90:186-190;
Huang Y et al. Invest Ophthalmol Vis Sci 2012;53:2133-2141), whose limits hold for one device.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.imaging.oct import OctVolume

# Own figures, calibrated on phantoms of known surfaces whose signal was lowered step by step: above 5 dB the mean error
# of thickness of the model that comes with the router is less than twice what it is without loss, below 2 dB more.
# Two real B-scans have 7 and 13 dB.
POOR_DB: Final = 2.0
WEAK_DB: Final = 5.0
TILT_DEG: Final = 15.0  # own figure: beyond it the signal of one side comes from another depth of the scan
CUT_SHARE: Final = 0.1  # own figure: share of the B-scan's width in which the retina leaves it

_LAG: Final = 6  # columns: further than speckle reaches (the width of the beam), nearer than the retina changes
_EVERY: Final = 3  # of the columns are asked
_SHIFT: Final = 8  # rows: the most that a tilted retina may move over the lag
_NEAR: Final = np.ones((5, 5), np.uint8)
_PADDING: Final = 0.01  # of the B-scan: a part of one grey value that is larger was not measured
_BLANK: Final = 1.0  # standard deviation in grey levels below which a B-scan holds nothing
_BLOCKS: Final = 32  # parts of the width that the retina is located in
_EDGE: Final = 0.01  # of the rows: a retina that begins so near to the edge is cut there
_SMOOTH_UM: Final = 25.0  # along the A-scan, against speckle
_LEAST_UM: Final = 60.0  # a bright band thinner than this is no retina
_RETINA_UM: Final = 250.0  # what must lie below the inner surface for the retina to be whole; about its thickness
_MOST: Final = 16  # B-scans looked at: evenly spread, the first and the last among them


@dataclass(frozen=True, slots=True)
class BScanQuality:
    """One B-scan. `signal_db` None where it is blank; `tilt_deg` None where no retina was located.

    `cut_top`, `cut_bottom`: share of the width in which the retina leaves the B-scan there.
    """

    number: int
    blank: bool
    signal_db: float | None = None
    tilt_deg: float | None = None
    cut_top: float = 0.0
    cut_bottom: float = 0.0


@dataclass(frozen=True, slots=True)
class VolumeQuality:
    """What was looked at of a volume of `frames` B-scans."""

    frames: int
    scans: tuple[BScanQuality, ...]

    @property
    def blank(self) -> tuple[int, ...]:
        """Numbers of B-scans that hold nothing."""
        return tuple(scan.number for scan in self.scans if scan.blank)

    @property
    def weakest(self) -> BScanQuality | None:
        """The B-scan with the least signal, None where all are blank."""
        seen = [scan for scan in self.scans if scan.signal_db is not None]
        return min(seen, key=lambda scan: (scan.signal_db or 0.0, scan.number), default=None)

    @property
    def signal_db(self) -> float | None:
        """Of the weakest B-scan: a volume is as good as that."""
        return self.weakest.signal_db if self.weakest else None

    @property
    def tilt_deg(self) -> float | None:
        """The steepest tilt, without sign; None where no retina was located."""
        return max((abs(s.tilt_deg) for s in self.scans if s.tilt_deg is not None), default=None)

    @property
    def cut_top(self) -> tuple[int, ...]:
        return tuple(scan.number for scan in self.scans if scan.cut_top > CUT_SHARE)

    @property
    def cut_bottom(self) -> tuple[int, ...]:
        return tuple(scan.number for scan in self.scans if scan.cut_bottom > CUT_SHARE)


def volume_quality(volume: OctVolume) -> VolumeQuality:
    """Look at no more than 16 B-scans, evenly spread. Raises PixelDataError where one cannot be decoded."""
    numbers = np.unique(np.linspace(1, len(volume), min(_MOST, len(volume))).round().astype(int))
    scans = _each(((int(n), volume.frame(int(n))) for n in numbers), volume.axial_um, volume.lateral_um)
    return VolumeQuality(len(volume), tuple(scans))


def _each(
    frames: Iterable[tuple[int, NDArray[np.uint8]]], axial_um: float, lateral_um: float
) -> Iterator[BScanQuality]:
    for number, frame in frames:
        yield bscan_quality(number, frame, axial_um, lateral_um)


def bscan_quality(number: int, frame: NDArray[np.uint8], axial_um: float, lateral_um: float) -> BScanQuality:
    """Judge one B-scan, uint8 [rows, columns], rows going into the eye."""
    if float(cv2.meanStdDev(frame)[1][0, 0]) < _BLANK or frame.shape[1] < 2 * _BLOCKS:
        return BScanQuality(number, blank=True)
    frame = without_padding(frame)
    signal = signal_db(frame)
    if signal < POOR_DB:  # nothing can be located in it
        return BScanQuality(number, False, signal)
    top, bottom = _band(frame, axial_um)
    found = np.isfinite(top)
    if not found.any():
        return BScanQuality(number, False, signal)
    rows = frame.shape[0]
    with np.errstate(invalid="ignore"):  # NaN is cut nowhere
        at_top = top <= max(1.0, _EDGE * rows)
        at_bottom = (bottom >= (1.0 - _EDGE) * rows - 1.0) & ((rows - top) * axial_um < _RETINA_UM)
    width = frame.shape[1] / _BLOCKS * lateral_um
    return BScanQuality(
        number,
        blank=False,
        signal_db=signal,
        tilt_deg=_tilt(np.flatnonzero(found) * width, top[found] * axial_um),
        cut_top=_gone(at_top, found),
        cut_bottom=_gone(at_bottom, found),
    )


def without_padding(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The B-scan with what a device filled up with one grey value set to the darkest of its pixels."""
    low, high = cv2.erode(frame, _NEAR), cv2.dilate(frame, _NEAR)
    flat = ((low == high) & (frame > frame.min())).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(flat, None, None, None, 8)
    large = stats[:, cv2.CC_STAT_AREA] >= _PADDING * frame.size
    large[0] = False
    if not large.any():
        return frame
    # grown again by what the window took from its border
    filled = cv2.dilate(large[labels].astype(np.uint8), _NEAR).astype(np.bool_)
    return np.where(filled, frame.min(), frame)


def signal_db(frame: NDArray[np.uint8]) -> float:
    """Ratio of the variances of structure and noise in dB; from -60, nothing in common, to 60."""
    smooth = np.asarray(cv2.blur(frame.astype(np.float32), (1, 3)), np.float32)
    here, there = smooth[:, :-_LAG:_EVERY], smooth[:, _LAG::_EVERY]
    columns = min(here.shape[1], there.shape[1])
    # a tilted retina lies some rows higher or lower there
    shared = max(_correlation(here[:, :columns], there[:, :columns], rows) for rows in range(-_SHIFT, _SHIFT + 1, 2))
    shared = float(np.clip(shared, 1e-6, 1.0 - 1e-6))
    return float(10.0 * np.log10(shared / (1.0 - shared)))


def _correlation(here: NDArray[np.float32], there: NDArray[np.float32], rows: int) -> float:
    """Pearson's, of one with the other moved up by some rows."""
    count = here.shape[0] - abs(rows)
    one, other = here[max(0, -rows) :][:count], there[max(0, rows) :][:count]
    one, other = one - one.mean(), other - other.mean()
    power = float(np.sqrt(float(np.vdot(one, one)) * float(np.vdot(other, other))))
    return float(np.vdot(one, other)) / power if power > 0 else 0.0


def _band(frame: NDArray[np.uint8], axial_um: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First and last row of the bright band in each of the parts of the width, NaN where there is none.

    The band is what lies above Otsu's threshold of the smoothed B-scan; of several the one with most light.
    """
    rows, columns = frame.shape
    wide = frame[:, : columns // _BLOCKS * _BLOCKS].reshape(rows, _BLOCKS, -1).mean(axis=2, dtype=np.float32)
    smooth = cv2.blur(wide, (1, max(1, round(_SMOOTH_UM / axial_um))))
    # stretched first: a dark B-scan has few grey levels
    darkest, brightest = np.percentile(smooth, [1.0, 99.0])
    small = np.clip(255.0 * (smooth - darkest) / max(1e-3, brightest - darkest), 0.0, 255.0).astype(np.uint8)
    limit, _ = cv2.threshold(small, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    top, bottom = np.full(_BLOCKS, np.nan), np.full(_BLOCKS, np.nan)
    least = _LEAST_UM / axial_um
    gap = np.ones((max(1, round(least)), 1), np.uint8)
    lit = cv2.morphologyEx((small > limit).astype(np.uint8), cv2.MORPH_CLOSE, gap)
    for block in range(_BLOCKS):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], lit[:, block], [0]])))
        runs = [(start, end) for start, end in edges.reshape(-1, 2) if end - start >= least]
        if runs:
            start, end = max(runs, key=lambda run: int(small[run[0] : run[1], block].sum()))
            top[block], bottom[block] = start, end
    return top, bottom


def _gone(cut: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    """Share of the width where the retina is cut, with the parts beside it where nothing of it is left."""
    count, parts = cv2.connectedComponents((cut | ~found).astype(np.uint8)[None])
    return float(sum((parts[0] == n).sum() for n in range(1, count) if cut[parts[0] == n].any())) / _BLOCKS


def _tilt(x_um: NDArray[np.float64], depth_um: NDArray[np.float64]) -> float | None:
    """Slope of the inner surface in degrees, by the median of the slopes between the two halves of the width."""
    half = len(x_um) // 2
    if half < 4:
        return None
    run = x_um[-half:] - x_um[:half]
    slopes = (depth_um[-half:] - depth_um[:half]) / run
    return float(np.degrees(np.arctan(np.median(slopes))))
