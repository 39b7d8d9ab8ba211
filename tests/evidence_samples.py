"""Sources, jobs and results for the tests of airouter.evidence."""

from collections.abc import Mapping
from datetime import datetime

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from airouter.domain import codes
from airouter.domain.finding import (
    AnnotationGroup,
    Evaluation,
    Finding,
    Measurement,
    NotAnalysed,
    ParametricMap,
    Region,
    Result,
    Segment,
    Segmentation,
)
from airouter.domain.job import Job, Source
from airouter.domain.model import Model
from airouter.domain.priority import Priority, Verdict
from airouter.domain.study import Laterality, Modality
from phantoms import dicom as phantoms
from tests import samples
from tests.data import data

NOW = datetime(2026, 3, 4, 5, 6, 7)


def headers(*datasets: Dataset) -> dict[str, Dataset]:
    """What the archive gives: everything but pixel data."""
    bare = {}
    for stored in datasets:
        ds = stored.copy()
        ds.pop("PixelData", None)
        bare[str(ds.SOPInstanceUID)] = ds
    return bare


def slide_phantom() -> dict[str, Dataset]:
    rgb = np.full((600, 700, 3), 230, np.uint8)
    return headers(*phantoms.slide_instances(rgb, 0.5, levels=2, seed="evidence"))


def slide_real() -> dict[str, Dataset]:
    folder = data("sm/cmu1_pyramid")
    return headers(*(dcmread(path, stop_before_pixels=True) for path in sorted(folder.glob("level_*.dcm"))))


def fundus_phantom() -> dict[str, Dataset]:
    return headers(phantoms.fundus_instance(np.full((96, 128, 3), 90, np.uint8), seed="evidence"))


def oct_phantom() -> dict[str, Dataset]:
    return headers(phantoms.oct_instance(np.full((5, 64, 80), 40, np.uint8), seed="evidence"))


def oct_real() -> dict[str, Dataset]:
    return headers(dcmread(data("oct/fda_minimized.dcm"), stop_before_pixels=True))


def model(sha256: str = "ab" * 32) -> Model:
    return samples.model(sha256=sha256, parameters={"threshold": 0.5})


def job(sources: Mapping[str, Dataset], key: str = "k1") -> Job:
    first = next(iter(sources.values()))
    return samples.job(
        key=key,
        study_uid=first.StudyInstanceUID,
        series_uid=first.SeriesInstanceUID,
        modality={"SM": Modality.SM, "OP": Modality.OP}.get(first.Modality, Modality.OPT),
        sources=tuple(Source(uid, uid, "0") for uid in sources),
        parameters={"minimum": 20},
    )


def slide_result(sources: Mapping[str, Dataset]) -> Result:
    """Regions with and without one of their own, a mask, polygons, points and a map on the first level."""
    base = next(iter(sources.values()))
    uid, rows, columns = base.SOPInstanceUID, base.TotalPixelMatrixRows, base.TotalPixelMatrixColumns
    factor = 16
    grid = (-(-rows // factor), -(-columns // factor))
    mask = np.zeros(grid, np.uint8)
    mask[2:10, 3:20] = 1
    mask[12:20, 5:9] = 2
    triangles = np.array([[10.5, 10.5], [14, 10.5], [12, 15], [30, 30], [36, 30], [36, 35], [30, 36]], np.float32)
    return Result(
        findings=(
            Finding(
                "tumour/1",
                "Hotspot 1",
                codes.HOTSPOT,
                Region("POLYGON", uid, np.array([[0.5, 0.5], [100.5, 0.5], [100.5, 50.5]])),
                measurements=(
                    Measurement(codes.KI67_INDEX, 21.4, codes.PERCENT),
                    Measurement(codes.NUCLEI_COUNT, 1234, codes.COUNTS),
                    Measurement(codes.NUCLEI_DENSITY, 0.1 + 0.2, codes.PER_MM2),
                ),
                comment="in the hottest field",
            ),
            Finding("slide", "Whole slide", codes.TISSUE, measurements=(Measurement(codes.AREA, 3.25, codes.MM2),)),
        ),
        verdict=Verdict(Priority.HIGH, "index above 20 %"),
        segmentations=(
            Segmentation(
                "tissue",
                "Tissue",
                uid,
                mask,
                (
                    Segment(1, "Tissue", codes.TISSUE, codes.TISSUE),
                    Segment(2, "Fold", codes.QUALITY, codes.FOLDED_TISSUE),
                ),
                factor,
            ),
        ),
        annotations=(
            AnnotationGroup(
                "nuclei",
                "Nuclei",
                uid,
                "POLYGON",
                codes.ANATOMICAL_STRUCTURE,
                codes.NUCLEUS,
                triangles,
                np.array([0, 3, 7]),
                {(codes.AREA, codes.UM2): np.array([7.5, 30.25], np.float32)},
            ),
            AnnotationGroup(
                "positive",
                "Positive nuclei",
                uid,
                "POINT",
                codes.ANATOMICAL_STRUCTURE,
                codes.POSITIVE_NUCLEUS,
                triangles[:2],
                np.array([0, 1, 2]),
            ),
        ),
        maps=(
            ParametricMap(
                "density",
                "Nuclei density",
                uid,
                np.arange(grid[0] * grid[1], dtype=np.float32).reshape(grid) / 7,
                codes.NUCLEI_DENSITY,
                codes.PER_MM2,
                factor,
            ),
        ),
        not_analysed=(NotAnalysed("HER2 score", "not analysed because the stain is not HER2"),),
        execution_provider="CPUExecutionProvider",
    )


def eye_result(sources: Mapping[str, Dataset], *, frames: tuple[int, ...] = (), mask_too: bool = True) -> Result:
    """One finding with a region on a frame, one without, and a mask."""
    image = next(iter(sources.values()))
    uid = image.SOPInstanceUID
    many = int(image.get("NumberOfFrames") or 1) > 1
    mask = np.zeros((len(frames) or 1, image.Rows, image.Columns), np.uint8)
    mask[:, 20:30, 10:41] = 1
    mask[0, 40:43, 12:15] = 2
    segmentation = Segmentation(
        "layers",
        "Retina",
        uid,
        mask,
        (
            Segment(1, "Retina", codes.ANATOMICAL_STRUCTURE, codes.RETINA),
            Segment(2, "IRF", codes.BODY_SUBSTANCE, codes.INTRARETINAL_FLUID),
        ),
        frames=frames,
    )
    return Result(
        findings=(
            Finding(
                "cst",
                "Central subfield, left",
                codes.RETINA,
                Region("POLYLINE", uid, np.array([[2.5, 3.5], [40.0, 4.0]]), frame=frames[0] if many else None),
                site=codes.RETINA,
                laterality=Laterality.L,
                measurements=(Measurement(codes.CST, 271.0, codes.UM), Measurement(codes.TOTAL_VOLUME, 8.5, codes.UL)),
            ),
            Finding(
                "quality",
                "Image quality",
                codes.QUALITY_ASSESSMENT,
                laterality=Laterality.L,
                measurements=(Measurement(codes.QUALITY_RATING, 80, codes.ONE),),
                evaluations=(
                    Evaluation(codes.QUALITY_FINDING, codes.DIAGNOSTIC_QUALITY),
                    Evaluation(codes.GRADABILITY, codes.GRADABLE),
                ),
            ),
        ),
        verdict=Verdict(Priority.ROUTINE, "nothing urgent"),
        segmentations=(segmentation,) if mask_too else (),
        not_analysed=(NotAnalysed("Drusen", "not analysed because there is no model for it"),),
        execution_provider="CPUExecutionProvider",
    )
