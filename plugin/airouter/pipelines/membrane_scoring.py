"""Scores membranous immunohistochemistry in haematoxylin-DAB: HER2 0 to 3+, PD-L1 TPS and CPS.

The model (segmentation, classes `nucleus` and `boundary`) finds the nuclei; around each, DAB is looked for on the
membrane. Scores are of tumour cells: a companion model that divides the tissue, or classes of the model for kinds of
cell, must tell them from others. What the slide is stained for is not in its header and must be said by the route.
"""

from collections.abc import Mapping
from typing import Final

from airouter.domain.finding import Result, Ungradable
from airouter.domain.job import Job
from airouter.domain.model import Fit, HeadKind, Model, Scalar
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.domain.study import Modality
from airouter.imaging.slide import Slide
from airouter.imaging.stain import H_DAB
from airouter.pipelines import membrane_cells, pd_l1
from airouter.pipelines.compartments import TUMOUR, tissue_companion
from airouter.pipelines.her2 import NAMES
from airouter.pipelines.membrane_cells import KINDS, cells_of
from airouter.pipelines.membrane_findings import TUMOUR_KEY, annotations_of, findings_of, maps_of
from airouter.pipelines.membrane_scores import HER2, PD_L1, Scored, scored_of
from airouter.pipelines.nuclei_of_slide import CLASSES
from airouter.pipelines.nuclei_results import tissue_segmentation
from airouter.pipelines.parallel import WORKERS
from airouter.pipelines.pipeline import Parameter, Pipeline, Values
from airouter.pipelines.tissue_classes import require
from airouter.pipelines.tissue_region import other_stain, tissue_region
from airouter.pipelines.tumour_cells import tissue_of, tumour_cells
from airouter.ports import Predictor, ProgressSink

PARAMETERS: Final = (
    Parameter("marker", None, "-", "what the slides of this route are stained for", choices=(HER2, PD_L1)),
    *membrane_cells.PARAMETERS,
    Parameter("min_cells", pd_l1.LEAST_CELLS, "{counts}", "fewest tumour cells that are scored", 1, whole=True),
    Parameter(
        "least_strong", 1.0, "%", "share of strong complete cells below which HER2 is not 2+ for them", 0.0, 10.0
    ),
    Parameter("immune_um", 500.0, "um", "how near to a tumour cell an immune cell counts", 0.0, 10000.0),
    Parameter("field_um", 250.0, "um", "side of a field of the heat map", 20.0, 5000.0),
    Parameter("min_field_cells", 10, "{counts}", "fewest cells of a field that shows a share", 1, whole=True),
    Parameter("high_her2", None, "1", "HER2 score from which on the priority is HIGH", 0, 3, whole=True),
    Parameter("high_tps", None, "%", "TPS from which on the priority is HIGH", 0.0, 100.0),
    Parameter("high_cps", None, "1", "CPS from which on the priority is HIGH", 0.0, 100.0),
    WORKERS,
)


def run(job: Job, images: Slide, predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """Give every cell its class of membrane staining, and the tumour the score of the marker that the route names.

    Ungradable where the slide is not stained with H-DAB, and as nuclear-positivity. Raises ModelOutputError,
    PixelDataError, ArchiveError, JobCanceled, and ConfigurationError for an impossible parameter.
    """
    values = Values(PARAMETERS, predict.model, job)
    require(_misfit, predict.model, job.parameters)
    if unfit := other_stain(images, H_DAB, "membranes are scored"):
        return unfit
    region = tissue_region(images, predict.model)
    if isinstance(region, Ungradable):
        return region
    cells = cells_of(region.plan, predict, values, progress)
    tissue = tissue_of(images, predict, values.get("workers"), progress)
    tumour = tumour_cells(cells.nuclei, region.level, predict.model, KINDS, tissue)
    scored = scored_of(cells, tumour, region.level, predict.model, values)
    return Result(
        findings=findings_of(region, cells, tumour, scored, values.text("marker")),
        verdict=_verdict(scored, values),
        segmentations=(tissue_segmentation(images, region.tissue),),
        annotations=annotations_of(region.level, cells, tumour, scored),
        maps=maps_of(region.level, cells, scored, values),
        not_analysed=scored.not_analysed,
        execution_provider=predict.provider,
    )


def _verdict(scored: Scored, values: Values) -> Verdict:
    if scored.her2:
        said = f"HER2 {scored.her2.name}: {scored.her2.reason}"
        high = values.get("high_her2")
        if high is not None and scored.her2.score >= high:
            return verdict_of(Ground(Priority.HIGH, f"{said}; reaches {NAMES[int(high)]}", (TUMOUR_KEY,)))
        said += "; equivocal" if scored.her2.score == 2 else ""
        return verdict_of(Ground(Priority.ROUTINE, said, (TUMOUR_KEY,)))
    scores = [
        (f"PD-L1 {name} {found:.1f}{unit}", found, values.get(limit), unit)
        for name, found, limit, unit in (("TPS", scored.tps, "high_tps", " %"), ("CPS", scored.cps, "high_cps", ""))
        if found is not None
    ]
    for text, found, limit, unit in scores:
        if limit is not None and found >= limit:
            return verdict_of(Ground(Priority.HIGH, f"{text} reaches {limit:g}{unit}", (TUMOUR_KEY,)))
    if scores:
        return verdict_of(Ground(Priority.ROUTINE, ", ".join(text for text, *_ in scores), (TUMOUR_KEY,)))
    return verdict_of(Ground(Priority.ROUTINE, f"{len(scored.counted)} cells, no score"))


def _misfit(model: Model, parameters: Mapping[str, Scalar]) -> str | None:
    """Limits that contradict each other."""
    return membrane_cells.limits_problem(parameters)


PIPELINE: Final = Pipeline(
    name="membrane-scoring",
    version="1.0.0",
    modality=Modality.SM,
    head=HeadKind.SEGMENTATION,
    classes=CLASSES,
    fits=(Fit.TILE,),
    run=run,
    parameters=PARAMETERS,
    misfit=_misfit,
    companions=(tissue_companion(TUMOUR),),
)
