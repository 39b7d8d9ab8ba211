"""Suggests the Nottingham grade of invasive breast cancer from tubules, nuclear pleomorphism and mitoses.

The model (segmentation) finds cells: classes `nucleus`, `boundary`, `tumour`, `mitosis`, and `normal` where it has it.
The companion `tissue` finds `tumour` and `tubule`. There is no grade, nor a part of one, without all three components.
"""

from typing import Final

from airouter.domain import codes
from airouter.domain.finding import AnnotationGroup, Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import Fit, HeadKind
from airouter.domain.study import Modality
from airouter.errors import ConfigurationError
from airouter.imaging.slide import Slide
from airouter.imaging.stain import H_AND_E
from airouter.pipelines import grade_components, mitoses_of_slide, nuclei_results
from airouter.pipelines.compartments import TISSUE, TUBULE, TUMOUR, tissue_companion
from airouter.pipelines.grade_components import Components, components
from airouter.pipelines.parallel import WORKERS
from airouter.pipelines.pipeline import Pipeline, Values
from airouter.pipelines.tissue_region import other_stain
from airouter.pipelines.tumour_cells import tissue_of
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = (*grade_components.PARAMETERS, WORKERS)


def run(job: Job, images: Slide, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """Measure the three components and suggest the grade that follows from them, or say which of them is missing.

    Ungradable as airouter.pipelines.tissue_region says, of either model. Raises ModelOutputError, PixelDataError,
    ArchiveError, JobCanceled, and ConfigurationError for an impossible parameter or a job without its companion.
    """
    values = Values(PARAMETERS, predict.model, job)
    if unfit := other_stain(images, H_AND_E, "the grade is defined"):
        return unfit
    tissue = tissue_of(images, predict, values.get("workers"), progress)
    if tissue is None:
        raise ConfigurationError("job", f"needs a companion {TISSUE}")
    if isinstance(tissue, Ungradable):
        return tissue
    found = components(images, predict, tissue, values, progress)
    if isinstance(found, Ungradable):
        return found
    findings, annotations = grade_components.findings(found), _annotations(found)
    mask = tissue.segmentation("classes", "Classes of the tissue")
    return Result(
        findings=findings,
        verdict=grade_components.verdict(found),
        segmentations=(mask,) if mask else (),
        annotations=annotations,
        not_analysed=found.missing,
        execution_provider=predict.provider,
    )


def _annotations(found: Components) -> tuple[AnnotationGroup, ...]:
    """The tumour nuclei that were measured, and the figures that were counted."""
    level = found.region.level
    nuclei = nuclei_results.group("tumour-nuclei", "Tumour nuclei", codes.NUCLEUS, level, found.nuclei, {})
    return (*((nuclei,) if nuclei else ()), *mitoses_of_slide.annotations(level, found.mitoses.figures))


PIPELINE: Final = Pipeline(
    name="nottingham",
    version="1.0.0",
    modality=Modality.SM,
    head=HeadKind.SEGMENTATION,
    classes=grade_components.CLASSES,
    fits=(Fit.TILE,),
    run=run,
    parameters=PARAMETERS,
    companions=(tissue_companion(TUMOUR, TUBULE, required=True),),
)
