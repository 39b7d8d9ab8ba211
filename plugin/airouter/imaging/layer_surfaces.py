"""The ordered surfaces of the retina from the probabilities of its layers and lesions on a B-scan.

Inner limiting membrane (ILM), outer surface of the retinal nerve fibre layer (RNFL), outer surface of the inner
plexiform layer (IPL), inner surface of the retinal pigment epithelium (RPE), Bruch's membrane (BM). Rows are measured
from the top edge, as in `airouter.imaging.layers`, whose boundary search is used for each of them: every class lies
above a surface, below it, or (intraretinal fluid) on the side of it where it is found.

Where a layer is missing its two surfaces are one: without RPE (geographic atrophy, optic disc) RPE and BM coincide, in
the foveal centre ILM, RNFL and IPL do. Drusen and fluid below a detached RPE lie between RPE and BM, subretinal fluid
between IPL and RPE: neither bends the surfaces beyond them.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from airouter.imaging import layers
from airouter.imaging.layers import Array, Surface

_CROSSING: Final = 2.0  # rows: two surfaces may cross by so much in their sub-pixel search, which is then undone
_WINDOW: Final = 1.0 / 80.0  # half width of the sub-pixel window, as a part of the rows: ten classes share the doubt
_USUAL_UM: Final = 11.7
_NEIGHBOURHOOD_UM: Final = 360.0  # columns further apart tell nothing of each other: the foveal pit is no outlier


class Channels(NamedTuple):
    """Channels of the probability map, in the order of the model's manifest."""

    vitreous: int = 0
    rnfl: int = 1
    gcl_ipl: int = 2
    outer_retina: int = 3
    rpe: int = 4
    drusen: int = 5
    choroid: int = 6
    irf: int = 7
    srf: int = 8
    ped: int = 9


_CHANNELS: Final = Channels()


@dataclass(frozen=True, slots=True, eq=False)
class Surfaces:
    """Five surfaces, each float64 [cols] in rows from the top edge, NaN where not trusted; where known, in this order.

    `ilm` and `bm` are known together: a column without them is not trusted at all.
    """

    ilm: Surface
    rnfl: Surface
    ipl: Surface
    rpe: Surface
    bm: Surface


def surfaces(
    prob: Array, channels: Channels = _CHANNELS, smooth: bool = True, lateral_um: float = _USUAL_UM
) -> Surfaces:
    """Surfaces of one B-scan.

    Args:
        prob: probabilities [C, rows, cols] on the B-scan's own pixel grid, of exclusive classes.
        channels: which channel is which.
        smooth: reject columns whose ILM or BM is an outlier, and take the running median of each surface over five
            columns. The surfaces between are not tested for outliers: a small druse looks like one.
        lateral_um: distance of the columns, which says how many of them make a neighbourhood.

    Raises:
        ValueError: prob is not three-dimensional or lacks a channel.
    """
    if prob.ndim != 3 or min(prob.shape) == 0 or prob.shape[0] <= max(channels):
        raise ValueError(f"probabilities must be [C, rows, cols] with C > {max(channels)}, not {prob.shape}")
    finite = np.asarray(np.isfinite(prob).all(axis=(0, 1)))
    clean = prob if finite.all() else np.where(finite[None, None], prob, 0.0)
    vitreous, choroid = clean[channels.vitreous], clean[channels.choroid]
    ilm, ilm_fits = layers.boundary(vitreous, _WINDOW)
    under, bm_fits = layers.boundary(choroid[::-1], _WINDOW)
    bm = prob.shape[1] - under
    total = np.maximum(clean.sum(axis=0), 1e-9)
    tissue = total - vitreous - choroid
    trusted = finite & ilm_fits & bm_fits & (ilm <= bm) & (layers.mean_between(tissue, ilm, bm) >= layers.LEAST_FIT)
    if smooth:
        far = layers.OUTLIER * prob.shape[1]
        width = max(5, 2 * round(_NEIGHBOURHOOD_UM / lateral_um / 2) + 1)
        ilm, bm = np.where(trusted, ilm, np.nan), np.where(trusted, bm, np.nan)
        trusted &= ~(layers.deviates(ilm, far, width) | layers.deviates(bm, far, width))

    above_rnfl = vitreous + clean[channels.rnfl]
    above_ipl = above_rnfl + clean[channels.gcl_ipl]
    above_rpe = above_ipl + clean[channels.outer_retina] + clean[channels.irf] + clean[channels.srf]
    inner = [_between(above / total, clean[channels.irf] / total) for above in (above_rnfl, above_ipl)]
    rpe, rpe_fits = layers.boundary(above_rpe / total, _WINDOW)
    found = [(ilm, trusted), *inner, (rpe, rpe_fits), (bm, trusted)]
    return Surfaces(*_ordered([np.where(fits & trusted, at, np.nan) for at, fits in found], smooth))


def _between(above: Array, fluid: Array) -> tuple[Surface, npt.NDArray[np.bool_]]:
    """A surface of the inner retina: fluid is counted to the side on which it lies.

    In a column where fluid touches the surface it counts as below, where cysts are (inner nuclear layer).
    """
    rows = above.shape[0]
    gain = np.concatenate([np.zeros((1, above.shape[1])), np.cumsum(above + 0.5 * fluid - 0.5, axis=0)])
    split = gain.argmax(axis=0)
    return layers.boundary(np.where(np.arange(rows)[:, None] < split[None], above + fluid, above), _WINDOW)


def _ordered(found: list[Surface], smooth: bool) -> list[Surface]:
    """The surfaces smoothed and put in order; one that crosses by more than a few rows is not trusted."""
    if smooth:
        found = [layers.running_median(each, layers.MEDIAN) for each in found]
    ilm, bm = found[0], found[-1]
    ordered, last = [ilm], ilm
    for each in found[1:-1]:
        with np.errstate(invalid="ignore"):
            crosses = (each < last - _CROSSING) | (each > bm + _CROSSING)
        ordered.append(np.where(crosses, np.nan, np.clip(each, last, bm)))
        last = np.where(np.isnan(ordered[-1]), last, ordered[-1])
    return [*ordered, bm]
