"""A map of the retina as a result: as a thickness map, and as a picture for people."""

import numpy as np

from airouter.domain.code import Code
from airouter.domain.finding import NotAnalysed
from airouter.domain.picture import Picture, ThicknessMap
from airouter.domain.study import Laterality
from airouter.imaging import enface
from airouter.imaging.enface import Turned
from airouter.imaging.oct import OctVolume


def maps(
    volume: OctVolume,
    shown: Turned,
    role: str,
    label: str,
    definition: Code,
    scale_um: tuple[float, float],
    circles_mm: tuple[float, ...] = (),
    deviation: bool = False,
    cross: bool = False,
) -> tuple[tuple[Picture, ...], tuple[ThicknessMap, ...]]:
    """The map `shown` in um as both; neither where nothing of it is known, no thickness map where `missing` says why.

    Roles are `role` with "-picture" and "-map". `scale_um`: of the picture's colours; `circles_mm`: radii about the
    first of the map's points, cut as the ETDRS grid where `cross`. `deviation`: the values are differences.
    """
    if not np.isfinite(shown.values).any():
        return (), ()
    title = f"{label}{shown.caveat}"
    rgb = enface.picture(
        shown, title, *scale_um, diverging=deviation, centre=shown.points[0], circles_mm=circles_mm, cross=cross
    )
    drawn = (Picture(f"{role}-picture", title, volume.instance_uid, rgb),)
    if missing(volume):
        return drawn, ()
    flat = ThicknessMap(
        role=f"{role}-map",
        label=label,
        source=volume.instance_uid,
        values=shown.values.astype(np.float32),
        spacing_mm=shown.spacing_mm,
        definition=definition,
        deviation=deviation,
        anatomical=shown.anatomical,
    )
    return drawn, (flat,)


def missing(volume: OctVolume) -> tuple[NotAnalysed, ...]:
    """Why there is no thickness map: it is one of the right or of the left eye."""
    if volume.laterality in (Laterality.R, Laterality.L):
        return ()
    why = "the laterality is missing" if volume.laterality is None else "the laterality says both eyes"
    return (NotAnalysed("thickness map", f"not analysed because {why}"),)
