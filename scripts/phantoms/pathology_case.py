"""A generated pathology case: the scans of one breast specimen and its lymph node, and an earlier case."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from pydicom.dataset import Dataset

from phantoms.artefacts import defocus, pen
from phantoms.dicom import slide_instances
from phantoms.dicom.parts import Uids, code
from phantoms.histology import Histology, histology

UM: Final = 0.5

_BREAST: Final = ("76752008", "SCT", "Breast")
_LYMPH_NODE: Final = ("59441001", "SCT", "Lymph Node")
_EXCISION: Final[Mapping[str, Any]] = {
    "tumour": 0.45, "tubules": 0.2, "necrosis": 0.03, "til": 0.12, "mitoses_per_mm2": 14.0, "pleomorphism": 3,
    "ink": "bottom", "margin_um": 150.0,
}  # fmt: skip


def pathology_case(side: int = 2816, small: int = 1280, seed: int = 7) -> dict[str, list[Dataset]]:
    """The slides of one case by what they are, each a series of its own in one study.

    H&E of the excision with inked margin, three immunostains, a lymph node, and a section of the excision that was
    scanned out of focus and marked with a pen. `side`, `small`: pixels of 0.5 um of the excision, and of the others.
    """
    study = Uids(f"pathology case {seed}")()
    excision = histology(side, side, UM, seed=seed, **_EXCISION)
    made = {"excision": _scan(excision, study, "H&E breast excision", "A1-1", _BREAST, seed)}
    for stain, shares in (
        ("Ki-67", {"positive": 0.3}),
        ("HER2", {"membrane": (0.1, 0.15, 0.25, 0.5)}),
        ("PD-L1", {"membrane": (0.6, 0.2, 0.1, 0.1), "positive_lymphocytes": 0.3}),
    ):
        picture = histology(small, small, UM, stain=stain, seed=seed, tumour=0.5, til=0.1, **shares)  # type: ignore[arg-type]
        made[stain] = _scan(picture, study, f"{stain} breast", f"A1-{len(made) + 1}", _BREAST, seed)
    node = histology(small, small, UM, kind="lymph-node", deposits_um=(small * UM / 2,), seed=seed)
    made["lymph node"] = _scan(node, study, "H&E sentinel node", "B1-1", _LYMPH_NODE, seed)
    section = histology(small, small, UM, seed=seed + 1, **(dict(_EXCISION) | {"ink": None, "margin_um": 0.0}))
    made["poor scan"] = _scan(section, study, "H&E breast, level 2", "A1-9", _BREAST, seed, rgb=_spoiled(section))
    return made


def earlier_case(side: int = 1280, seed: int = 21) -> list[Dataset]:
    """An excision of another patient, acquired a year before."""
    picture = histology(side, side, UM, seed=seed, **(dict(_EXCISION) | {"ink": None, "margin_um": 0.0}))
    made = _scan(picture, Uids(f"earlier case {seed}")(), "H&E breast excision", "C1-1", _BREAST, seed, "DEMO-EARLIER")
    for ds in made:
        year = str(int(ds.StudyDate[:4]) - 1)
        ds.StudyDate = year + ds.StudyDate[4:]
        for keyword in ("AcquisitionDateTime", "ContentDate", "SeriesDate", "AcquisitionDate"):
            if ds.get(keyword):
                setattr(ds, keyword, year + str(ds.get(keyword))[4:])
    return made


def _spoiled(picture: Histology) -> np.ndarray:
    """Two thirds out of focus, and a stroke of a pen across what is left."""
    rows, cols = picture.classes.shape
    where = np.zeros((rows, cols), bool)
    where[: 2 * rows // 3] = True
    blurred = defocus(picture.rgb, picture.spacing_um, 6.0, where).rgb
    line = np.array([[0.0, rows * 0.8], [cols * 0.5, rows * 0.85], [float(cols), rows * 0.75]])
    return np.asarray(pen(blurred, picture.spacing_um, line, width_um=60.0).rgb)


def _scan(
    picture: Histology,
    study: str,
    description: str,
    container: str,
    anatomy: tuple[str, str, str],
    seed: int,
    patient: str = "DEMO-PATHOLOGY",
    rgb: np.ndarray | None = None,
) -> list[Dataset]:
    made = slide_instances(
        picture.rgb if rgb is None else rgb,
        picture.spacing_um,
        stain="H&E" if picture.stain == "H&E" else "H-DAB",
        patient_id=patient,
        study_uid=study,
        description=description,
        seed=f"{study} {container} {seed}",
    )
    for ds in made:
        ds.ContainerIdentifier = container
        ds.SpecimenDescriptionSequence[0].SpecimenIdentifier = container
        ds.SpecimenDescriptionSequence[0].PrimaryAnatomicStructureSequence = [code(*anatomy)]
    return made
