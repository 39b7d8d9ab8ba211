"""Phantom OCT scans as DICOM objects: a volume, and a circle scan with the photograph that shows its place."""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from pydicom.dataset import Dataset

from airouter.domain import codes
from phantoms.dicom.eye import fundus_instance, oct_instance
from phantoms.dicom.parts import Uids
from phantoms.oct_disc import CirclePhantom, DiscPhantom
from phantoms.oct_layers import LayerPhantom

LOCALIZER_MM: Final = 0.0115  # pixel size of the photograph
LOCALIZER_SIZE: Final = 768


def volume_case(phantom: LayerPhantom | DiscPhantom, **options: Any) -> Dataset:
    """A volume; options as for `oct_instance`."""
    scan = phantom.scan if isinstance(phantom, DiscPhantom) else phantom
    said = {
        "axial_um": scan.axial_um,
        "lateral_um": scan.lateral_um,
        "slice_um": scan.slice_um,
        "laterality": scan.laterality,
        "region": codes.OPTIC_DISC if isinstance(phantom, DiscPhantom) else codes.RETINA,
    }
    return oct_instance(scan.frames, **{**said, **options})


def circle_case(
    phantom: CirclePhantom,
    centre: tuple[float, float] = (LOCALIZER_SIZE / 2, LOCALIZER_SIZE / 2),
    spacing_mm: float | None = LOCALIZER_MM,
    **options: Any,
) -> tuple[Dataset, Dataset]:
    """The photograph and the circle scan, in one study.

    Args:
        centre: (row, column) of the disc on the photograph, from its top left corner.
        spacing_mm: of the photograph as its header says; None leaves it out, so that the circle has no known size.
        options: as for `oct_instance`.
    """
    seed = options.pop("seed", None)
    uids = Uids(None if seed is None else f"{seed} case")
    said = {"laterality": phantom.scan.laterality, "study_uid": uids(), **options}
    shared = ("laterality", "study_uid", "patient_id", "patient_name", "taken", "accession")
    photograph = fundus_instance(
        _photograph(centre),
        spacing_mm=spacing_mm,
        seed=None if seed is None else f"{seed} localizer",
        region=codes.OPTIC_DISC,
        **{key: said[key] for key in shared if key in said},
    )
    scan = phantom.scan
    own = {
        "axial_um": scan.axial_um,
        "lateral_um": scan.lateral_um,
        "slice_um": None,
        "region": codes.OPTIC_DISC,
        "localizer": photograph,
        "paths": [phantom.path(centre, LOCALIZER_MM)],
        "seed": seed,
    }
    return photograph, oct_instance(scan.frames, **{**own, **said})


def _photograph(centre: tuple[float, float]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A reddish picture with a bright disc of 1.7 mm."""
    picture = np.full((LOCALIZER_SIZE, LOCALIZER_SIZE, 3), (150, 70, 40), np.uint8)
    at = (round(centre[1]), round(centre[0]))
    cv2.circle(picture, at, round(0.85 / LOCALIZER_MM), (230, 190, 140), -1)
    return picture
