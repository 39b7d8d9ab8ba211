"""How cells with stained membranes are reported: findings, outlines by class, and a map of fields."""

from typing import Final

from airouter.domain import codes
from airouter.domain.finding import AnnotationGroup, Evaluation, Finding, Measurement, ParametricMap
from airouter.imaging.level import Level
from airouter.pipelines.membrane_cells import Cells
from airouter.pipelines.membrane_scores import PD_L1, Scored
from airouter.pipelines.nuclei_results import density_map, group, share_map
from airouter.pipelines.pipeline import Values
from airouter.pipelines.tissue_region import TissueRegion
from airouter.pipelines.tumour_cells import TumourCells

TUMOUR_KEY: Final = "tumour"  # of the finding that has the scores
_CLASSES: Final = (
    (codes.MEMBRANE_0, codes.MEMBRANE_0_SHARE, "Cells without membrane staining"),
    (codes.MEMBRANE_1, codes.MEMBRANE_1_SHARE, "Cells with faint or incomplete membrane staining"),
    (codes.MEMBRANE_2, codes.MEMBRANE_2_SHARE, "Cells with weak to moderate complete membrane staining"),
    (codes.MEMBRANE_3, codes.MEMBRANE_3_SHARE, "Cells with strong complete membrane staining"),
)
_ISH: Final = "2+ is equivocal: reflex testing by in situ hybridisation is customary."


def findings_of(
    region: TissueRegion, cells: Cells, tumour: TumourCells, scored: Scored, marker: str | None
) -> tuple[Finding, ...]:
    """All cells on the tissue, and apart from them those of the tumour where something tells them."""
    outline = region.outline()
    measured = (
        Measurement(codes.TISSUE_AREA, region.tissue.area_mm2, codes.MM2),
        Measurement(codes.NUCLEI_COUNT, float(len(cells)), codes.COUNTS),
    )
    classes = _class_shares(scored)
    apart = tumour.known and not tumour.why
    findings = [
        Finding(
            key="tissue",
            label="Cells on the tissue",
            finding=codes.TISSUE,
            region=outline,
            measurements=measured if apart else (*measured, *classes),
            comment="All cells on the tissue." if apart or tumour.why else tumour.how,
            method=codes.METHOD_MEMBRANE,
        )
    ]
    if apart:
        area = () if tumour.area_mm2 is None else (Measurement(codes.AREA, tumour.area_mm2, codes.MM2),)
        total = Measurement(codes.NUCLEI_COUNT, float(len(scored.counted)), codes.COUNTS)
        findings.append(
            Finding(
                key=TUMOUR_KEY,
                label="Cells of the tumour",
                finding=codes.NEOPLASM,
                region=tumour.region or outline,
                measurements=(*area, total, *classes, *_score_measurements(scored)),
                evaluations=(Evaluation(codes.HER2_SCORE, scored.her2.value),) if scored.her2 else (),
                comment=_comment(tumour, scored, marker),
                method=codes.METHOD_MEMBRANE,
            )
        )
    if scored.cps is not None and scored.immune is not None:
        findings.append(
            Finding(
                key="immune",
                label="Immune cells of the combined positive score",
                finding=codes.CELL,
                region=outline,
                measurements=(
                    Measurement(codes.IMMUNE_COUNT, float(len(scored.immune)), codes.COUNTS),
                    Measurement(codes.IMMUNE_STAINED, float(scored.immune.stained.sum()), codes.COUNTS),
                ),
                comment="Lymphocytes and macrophages, as far as the model tells them, near tumour cells.",
                method=codes.METHOD_MEMBRANE,
            )
        )
    return tuple(findings)


def _class_shares(scored: Scored) -> tuple[Measurement, ...]:
    counted = scored.counted
    if not (scored.graded and len(counted)):
        return ()
    return (
        Measurement(codes.STAINED_COUNT, float(counted.stained.sum()), codes.COUNTS),
        Measurement(codes.MEMBRANE_STAINED, 100.0 * float(counted.stained.mean()), codes.PERCENT),
        *(
            Measurement(name, percent, codes.PERCENT)
            for (_, name, _), percent in zip(_CLASSES, counted.percent(), strict=True)
        ),
    )


def _score_measurements(scored: Scored) -> tuple[Measurement, ...]:
    made = []
    if scored.her2:
        made.append(Measurement(codes.HER2_INTENSE, scored.counted.percent()[3], codes.PERCENT))
    if scored.tps is not None:
        made.append(Measurement(codes.PD_L1_TPS, scored.tps, codes.PERCENT))
    if scored.cps is not None:
        made.append(Measurement(codes.PD_L1_CPS, scored.cps, codes.ONE))
    return tuple(made)


def _comment(tumour: TumourCells, scored: Scored, marker: str | None) -> str:
    parts = [tumour.how]
    if scored.her2:
        parts.append(f"HER2 {scored.her2.name}: {scored.her2.reason}.")
        parts.append("Invasive tumour and tumour in situ are not told apart.")
        if scored.her2.score == 2:
            parts.append(_ISH)
    elif marker == PD_L1 and scored.tps is not None:
        parts.append("The antibody clone and the assay are not known to the router.")
    return " ".join(parts)


def annotations_of(level: Level, cells: Cells, tumour: TumourCells, scored: Scored) -> tuple[AnnotationGroup, ...]:
    """The counted cells by class, and the others; all in one group where no class can be trusted."""
    if not scored.graded:
        made = [group("nuclei", "Nuclei", codes.NUCLEUS, level, cells.nuclei, {})]
        return tuple(each for each in made if each is not None)
    groups = [
        (f"membrane-{n}", label, kind, scored.counted.take(scored.counted.grade == n))
        for n, (kind, _, label) in enumerate(_CLASSES)
    ]
    groups.append(("other-nuclei", "Nuclei that are not counted", codes.NUCLEUS, cells.take(~tumour.mask)))
    made = [
        group(
            role,
            label,
            kind,
            level,
            mine.nuclei,
            {(codes.MEMBRANE_COMPLETE, codes.RATIO): mine.share, (codes.MEMBRANE_OD, codes.ONE): mine.intensity},
        )
        for role, label, kind, mine in groups
    ]
    return tuple(each for each in made if each is not None)


def maps_of(level: Level, cells: Cells, scored: Scored, values: Values) -> tuple[ParametricMap, ...]:
    """Per field the stained share of the counted cells in %, without classes the density of all nuclei."""
    if not len(cells):
        return ()
    if not scored.graded:
        return (density_map(level, cells.nuclei.centres, values["field_um"]),)
    counted, field_um, least = scored.counted, values["field_um"], values["min_field_cells"]
    label = "Stained cells per field"
    return (share_map(level, counted.nuclei.centres, counted.stained, field_um, least, label, codes.MEMBRANE_STAINED),)
