"""The layers and lesions of the retina in an OCT volume: what every pipeline on the model `retina-layers` starts from.

The model (segmentation of exclusive classes, see CLASSES) sees one B-scan at a time; `imaging.layer_surfaces` finds the
surfaces in its answer. Layers are what lies between the surfaces; drusen and fluid are the pixels where their class is
the most probable one, in pockets that are not specks, between the ILM and Bruch's membrane of trusted columns.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Segment, Segmentation, Ungradable
from airouter.domain.model import Model, Scalar
from airouter.domain.study import Laterality
from airouter.imaging import layer_surfaces
from airouter.imaging.layer_surfaces import Channels, Surfaces
from airouter.imaging.oct import OctVolume
from airouter.inference.whole import whole
from airouter.pipelines.parallel import WORKERS, in_order, workers
from airouter.pipelines.pipeline import Parameter, Values
from airouter.ports import Predictor, ProgressSink

CLASSES: Final = (
    "vitreous", "rnfl", "gcl-ipl", "outer-retina", "rpe", "drusen", "choroid", "irf", "srf", "ped",
)  # fmt: skip

PARAMETERS: Final = (
    Parameter("min_fluid_um2", 500.0, "um2", "least area of a pocket of fluid on a B-scan", 0.0, 1e6),
    Parameter("min_drusen_um2", 500.0, "um2", "least area of drusen material on a B-scan", 0.0, 1e6),
    Parameter("max_untrusted", 0.25, "{ratio}", "largest share of columns without a trustworthy boundary", 0.0, 1.0),
    WORKERS,
)

# Values of the label image.
RNFL, GCL_IPL, OUTER_RETINA, RPE, DRUSEN, IRF, SRF, PED = range(1, 9)
FLUIDS: Final = (IRF, SRF, PED)

_SEGMENTS: Final[tuple[tuple[int, str, Code, Code], ...]] = (
    (RNFL, "Retinal nerve fibre layer", codes.ANATOMICAL_STRUCTURE, codes.RNFL_LAYER),
    (GCL_IPL, "Ganglion cell and inner plexiform layers", codes.ANATOMICAL_STRUCTURE, codes.GCL_IPL_LAYER),
    (OUTER_RETINA, "Inner nuclear layer to photoreceptors", codes.ANATOMICAL_STRUCTURE, codes.OUTER_RETINA_LAYER),
    (RPE, "Retinal pigment epithelium", codes.ANATOMICAL_STRUCTURE, codes.RPE_LAYER),
    (DRUSEN, "Drusen", codes.MORPHOLOGICALLY_ABNORMAL_STRUCTURE, codes.DRUSEN),
    (IRF, "Intraretinal fluid", codes.BODY_SUBSTANCE, codes.INTRARETINAL_FLUID),
    (SRF, "Subretinal fluid", codes.BODY_SUBSTANCE, codes.SUBRETINAL_FLUID),
    (
        PED,
        "Pigment epithelial detachment",
        codes.MORPHOLOGICALLY_ABNORMAL_STRUCTURE,
        codes.PIGMENT_EPITHELIAL_DETACHMENT,
    ),
)

_LEAST_RPE_UM: Final = 4.0  # an RPE thinner than this is none: a normal one is 15 to 25 um
_LEAST_RETINA_UM: Final = 20.0  # less than this between IPL and RPE is no retina; in atrophy 60 um or more are left


@dataclass(frozen=True, slots=True, eq=False)
class Retina:
    """What the model says of a volume of B B-scans.

    Surfaces: float64 [B, cols] in rows from the top edge, NaN where not trusted, in their anatomical order.
    `labels`: uint8 [B, rows, cols] of RNFL .. PED, 0 elsewhere and where nothing is trusted.
    `rpe_there`: bool [B, cols], whether a trusted column has a retinal pigment epithelium; False where not trusted.
    `disc`: bool [B, cols], trusted columns without RPE and without the layers from the IPL to the photoreceptors.
    """

    ilm: NDArray[np.float64]
    rnfl: NDArray[np.float64]
    ipl: NDArray[np.float64]
    rpe: NDArray[np.float64]
    bm: NDArray[np.float64]
    labels: NDArray[np.uint8]
    rpe_there: NDArray[np.bool_]
    disc: NDArray[np.bool_]

    @property
    def trusted(self) -> NDArray[np.bool_]:
        """bool [B, cols]: the columns with an ILM and a Bruch's membrane."""
        return np.isfinite(self.ilm)

    @property
    def untrusted(self) -> float:
        """Share of the columns that are not trusted."""
        return 1.0 - float(self.trusted.mean())

    def mask(self, label: int) -> NDArray[np.bool_]:
        """bool [B, rows, cols]: the pixels of one label."""
        return np.asarray(self.labels == label)

    def height_um(self, label: int, axial_um: float) -> NDArray[np.float64]:
        """float64 [B, cols]: how much of a label lies in each column, NaN where the column is not trusted."""
        return np.where(self.trusted, self.mask(label).sum(axis=1) * axial_um, np.nan)


def misfit(model: Model, _: Mapping[str, Scalar]) -> str | None:
    """Layers are told apart by which is the most probable: the classes must exclude each other."""
    return None if model.head.exclusive else f"model {model.name} must have exclusive classes"


def read(volume: OctVolume, predict: Predictor, values: Values, progress: ProgressSink) -> Retina | Ungradable:
    """Run the model over every B-scan.

    `values` must know PARAMETERS. Ungradable where too many columns show no trustworthy boundary, or where the model
    asks for a laterality that is missing. Raises what Predictor, PixelData and progress raise.
    """
    if predict.model.reads.laterality_required and volume.laterality not in (Laterality.R, Laterality.L):
        return Ungradable("not analysed because the laterality is missing and the model asks for it")
    channels = Channels(*(predict.model.head.channel(name) for name in CLASSES))
    pixel_um2 = volume.axial_um * volume.lateral_um
    least = dict.fromkeys(FLUIDS, values["min_fluid_um2"] / pixel_um2)
    least[DRUSEN] = values["min_drusen_um2"] / pixel_um2

    def analyse(number: int) -> tuple[Surfaces, NDArray[np.uint8]]:
        maps = whole(predict, volume.frame(number))
        found = layer_surfaces.surfaces(maps, channels, lateral_um=volume.lateral_um)
        return found, _labels(found, maps.argmax(axis=0), channels, least)

    scans: list[tuple[Surfaces, NDArray[np.uint8]]] = []
    progress(0, len(volume), "B-scans")
    for scan in in_order(analyse, range(1, len(volume) + 1), workers(values.get("workers"))):
        scans.append(scan)
        progress(len(scans), len(volume), "B-scans")
    made = _retina(scans, volume.axial_um)
    if made.untrusted > values["max_untrusted"] or not made.trusted.any():
        return Ungradable(
            "not analysed because the signal is too weak: no trustworthy retinal boundary in "
            f"{100 * made.untrusted:.0f} % of the columns"
        )
    return made


def segmentation(volume: OctVolume, retina: Retina) -> Segmentation:
    """The layers and lesions that occur, on the B-scans' own pixels."""
    there = [each for each in _SEGMENTS if (retina.labels == each[0]).any()]
    numbers = np.zeros(9, np.uint8)
    for number, (label, *_) in enumerate(there, 1):
        numbers[label] = number
    return Segmentation(
        role="layers",
        label="Retinal layers and lesions",
        source=volume.instance_uid,
        mask=numbers[retina.labels],
        segments=tuple(Segment(n, name, category, kind) for n, (_, name, category, kind) in enumerate(there, 1)),
        frames=tuple(range(1, len(volume) + 1)),
    )


def left_out(retina: Retina) -> str:
    """A sentence on the columns that are not trusted, empty where all are."""
    if retina.untrusted == 0.0:
        return ""
    return f"{100 * retina.untrusted:.1f} % of the columns were left out: no trustworthy boundary."


def _labels(
    found: Surfaces, classes: NDArray[np.intp], channels: Channels, least: Mapping[int, float]
) -> NDArray[np.uint8]:
    centre = np.arange(classes.shape[0])[:, None] + 0.5
    labels = np.zeros(classes.shape, np.uint8)
    edges = (found.ilm, found.rnfl, found.ipl, found.rpe, found.bm)
    with np.errstate(invalid="ignore"):  # comparisons with NaN are False: no label where a surface is not trusted
        for label, (upper, lower) in enumerate(itertools.pairwise(edges), RNFL):
            labels[(centre >= upper[None]) & (centre < lower[None])] = label
        inside = (centre >= found.ilm[None]) & (centre < found.bm[None])
    lesions = {DRUSEN: channels.drusen, IRF: channels.irf, SRF: channels.srf, PED: channels.ped}
    for label, channel in lesions.items():
        labels[_pockets((classes == channel) & inside, least[label])] = label
    return labels


def _pockets(mask: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    """The 8-connected parts of `least` pixels or more."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), None, None, None, 8)
    large = stats[:, cv2.CC_STAT_AREA] >= least
    large[0] = False
    return np.asarray(large[parts], np.bool_)


def _retina(scans: list[tuple[Surfaces, NDArray[np.uint8]]], axial_um: float) -> Retina:
    ilm, rnfl, ipl, rpe, bm = (
        np.stack([getattr(found, name) for found, _ in scans]) for name in ("ilm", "rnfl", "ipl", "rpe", "bm")
    )
    labels = np.stack([each for _, each in scans])
    trusted = np.isfinite(ilm)
    pigment = (labels == RPE).sum(axis=1) * axial_um
    there = trusted & ((pigment >= _LEAST_RPE_UM) | ~np.isfinite(rpe))  # an RPE that is not trusted is not missing
    inner = np.where(np.isfinite(ipl), ipl, np.where(np.isfinite(rnfl), rnfl, ilm))
    with np.errstate(invalid="ignore"):
        retina = (bm - inner) * axial_um >= _LEAST_RETINA_UM
    return Retina(ilm, rnfl, ipl, rpe, bm, labels, there, trusted & ~there & ~retina)
