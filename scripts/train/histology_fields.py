"""Generated fields to train on: all arguments of the generator drawn at random, each field by its own number."""

import cv2
import numpy as np

from phantoms.histology import Histology, Stain, histology

_STAINS: tuple[Stain, ...] = ("H&E", "H&E", "H&E", "Ki-67", "HER2", "PD-L1")
_SIDES = ("top", "bottom", "left", "right")


def field(number: int, side: int, spacing_um: float, *, dividing: float, variation: float = 1.0) -> Histology:
    """Field `number` of side x side pixels; up to `dividing` mitoses per mm2 of tumour.

    Fields of training have numbers below 500,000, those that are held out have higher ones.
    """
    cv2.setNumThreads(1)
    rng = np.random.default_rng((number, 4))
    whole = side * spacing_um
    inked = rng.random() < 0.35
    edge = bool(inked or rng.random() < 0.4)
    node = rng.random() < 0.15
    small = bool(node and rng.random() < 0.7 and whole > 400)
    tumour, necrosis, normal = rng.uniform(0.1, 0.6), rng.choice([0, 0, 0.06, 0.15]), rng.choice([0, 0.1, 0.2])
    shares = rng.dirichlet([0.7, 0.7, 0.7, 0.7])
    return histology(
        side,
        side,
        spacing_um,
        kind="lymph-node" if node else "breast",
        stain=_STAINS[int(rng.integers(len(_STAINS)))],
        seed=number,
        tumour=float(tumour),
        tubules=float(rng.choice([0.0, 0.2, 0.5, 0.9])),
        necrosis=float(necrosis),
        normal=float(normal),
        til=float(rng.choice([0.0, 0.03, 0.1, 0.3])),
        intraepithelial=float(rng.choice([0.0, 0.03, 0.08])),
        mitoses_per_mm2=float(dividing * rng.random()),
        pleomorphism=int(rng.integers(1, 4)),
        centre=(float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.2, 0.8))),
        edge=edge,
        ink=_SIDES[int(rng.integers(4))] if inked else None,  # type: ignore[arg-type]
        margin_um=float(rng.uniform(0, 0.2 * whole)) if inked else 0.0,
        deposits_um=(float(rng.uniform(0.15, 0.35) * whole),) if small else (),
        positive=float(rng.choice([0.05, 0.25, 0.6])),
        positive_lymphocytes=float(rng.choice([0.0, 0.1, 0.4])),
        membrane=[float(s) for s in shares / shares.sum()],
        variation=variation,
    )
