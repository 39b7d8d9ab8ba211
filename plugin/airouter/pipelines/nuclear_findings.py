"""How the nuclei of a slide and their positive share are reported: findings, outlines, and a map of fields."""

from typing import Final

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import AnnotationGroup, Evaluation, Finding, Measurement, ParametricMap, Region
from airouter.imaging.level import Level
from airouter.pipelines.nuclear_index import Counted, Hotspot
from airouter.pipelines.nuclear_markers import Marker, h_score
from airouter.pipelines.nuclei_of_slide import Nuclei
from airouter.pipelines.nuclei_results import density_map, group, share_map
from airouter.pipelines.pipeline import Values
from airouter.pipelines.tissue_region import TissueRegion
from airouter.pipelines.tumour_cells import TumourCells

# Dowsett M et al. Assessment of Ki67 in breast cancer. J Natl Cancer Inst 2011;103:1656-1664: at least 500 cells.
_ADVISED_NUCLEI: Final = 500
TISSUE, TUMOUR, HOTSPOT = "tissue", "tumour", "hotspot"  # keys of findings
_ALL: Final = "All nuclei on the tissue, of whatever cell."


def findings_of(
    region: TissueRegion,
    found: Nuclei,
    counted: Counted,
    tumour: TumourCells,
    hot: Hotspot | str,
    marker: Marker | None,
    values: Values,
) -> tuple[Finding, ...]:
    """All nuclei on the tissue; those of tumour cells apart where something tells them; and the hotspot."""
    outline, area_mm2 = region.outline(), region.tissue.area_mm2
    measured: tuple[Measurement, ...] = (
        Measurement(codes.TISSUE_AREA, area_mm2, codes.MM2),
        Measurement(codes.NUCLEI_COUNT, float(len(found)), codes.COUNTS),
        Measurement(codes.NUCLEI_DENSITY, len(found) / area_mm2, codes.PER_MM2),
    )
    index = _index(counted, marker, values)
    comment = tumour.how + _uncertain(counted)
    apart = key_of_index(tumour) == TUMOUR
    if not apart:
        measured += index
    findings = [
        Finding(
            key=TISSUE,
            label="Nuclei on the tissue",
            finding=codes.TISSUE,
            region=outline,
            measurements=measured,
            comment=_ALL if apart or tumour.why else comment,
            method=codes.METHOD_NUCLEAR,
        )
    ]
    if apart:
        nuclei = Measurement(codes.NUCLEI_COUNT, float(len(counted.nuclei)), codes.COUNTS)
        area = () if tumour.area_mm2 is None else (Measurement(codes.AREA, tumour.area_mm2, codes.MM2),)
        findings.append(
            Finding(
                key=TUMOUR,
                label="Nuclei of the tumour",
                finding=codes.NEOPLASM,
                region=tumour.region or outline,
                measurements=(*area, nuclei, *index),
                evaluations=_evaluations(counted, marker),
                comment=comment,
                method=codes.METHOD_NUCLEAR,
            )
        )
        findings += _others(found, counted, tumour, outline, values)
    if isinstance(hot, Hotspot):
        findings.append(_hotspot_finding(hot, marker))
    return tuple(findings)


def key_of_index(tumour: TumourCells) -> str:
    """Key of the finding that has the index: the tumour's where something tells tumour cells from others."""
    return TUMOUR if tumour.known and not tumour.why else TISSUE


def _index(counted: Counted, marker: Marker | None, values: Values) -> tuple[Measurement, ...]:
    if counted.index is None:
        return ()
    made = [
        Measurement(codes.POSITIVE_COUNT, float(counted.positive.sum()), codes.COUNTS),
        Measurement(_name(marker), counted.index, codes.PERCENT),
    ]
    if marker and marker.status:
        limits = (values[name] for name in ("dab_threshold", "moderate_od", "strong_od"))
        made.append(Measurement(codes.H_SCORE, h_score(counted.nuclei.od, *limits), codes.ONE))
    return tuple(made)


def _name(marker: Marker | None) -> Code:
    return marker.index if marker else codes.POSITIVE_FRACTION


def _evaluations(counted: Counted, marker: Marker | None) -> tuple[Evaluation, ...]:
    """The guideline's word for the index of tumour cells."""
    if counted.index is None or marker is None or marker.status is None:
        return ()
    value = marker.evaluated(counted.index)
    return () if value is None else (Evaluation(marker.status, value),)


def _uncertain(counted: Counted) -> str:
    if counted.index is None or len(counted.nuclei) >= _ADVISED_NUCLEI:
        return ""
    return f" Fewer than {_ADVISED_NUCLEI} nuclei: the index is uncertain."


def _others(
    found: Nuclei, counted: Counted, tumour: TumourCells, outline: Region, values: Values
) -> tuple[Finding, ...]:
    """What takes no part in the index."""
    rest = found.take(~tumour.mask)
    if counted.index is None or not len(rest):
        return ()
    positive = float((rest.od >= values["dab_threshold"]).sum())
    return (
        Finding(
            key="others",
            label="Nuclei that are not counted",
            finding=codes.NUCLEUS,
            region=outline,
            measurements=(
                Measurement(codes.NUCLEI_COUNT, float(len(rest)), codes.COUNTS),
                Measurement(codes.POSITIVE_COUNT, positive, codes.COUNTS),
            ),
            comment="Nuclei of other cells than tumour cells, or outside the tumour: they take no part in the index.",
            method=codes.METHOD_NUCLEAR,
        ),
    )


def _hotspot_finding(hot: Hotspot, marker: Marker | None) -> Finding:
    return Finding(
        key=HOTSPOT,
        label="Hotspot of positive nuclei",
        finding=codes.POSITIVE_HOTSPOT,
        region=hot.region,
        measurements=(
            Measurement(codes.AREA, hot.area_mm2, codes.MM2),
            Measurement(codes.NUCLEI_COUNT, float(hot.total), codes.COUNTS),
            Measurement(codes.POSITIVE_COUNT, float(hot.positive), codes.COUNTS),
            Measurement(_name(marker), hot.index, codes.PERCENT),
        ),
        comment="The window of this area that holds most positive nuclei among those that are counted.",
        method=codes.METHOD_NUCLEAR,
    )


def annotations_of(
    level: Level, found: Nuclei, tumour: TumourCells, counted: Counted, stained: bool
) -> tuple[AnnotationGroup, ...]:
    """All nuclei in one group; where an index can be trusted positive, negative and other ones apart."""
    if counted.index is None:
        groups = [("nuclei", "Nuclei", codes.NUCLEUS, found)]
    else:
        positive, negative = (counted.nuclei.take(members) for members in (counted.positive, ~counted.positive))
        groups = [
            ("positive-nuclei", "Positive nuclei", codes.POSITIVE_NUCLEUS, positive),
            ("negative-nuclei", "Negative nuclei", codes.NEGATIVE_NUCLEUS, negative),
            ("other-nuclei", "Nuclei that are not counted", codes.NUCLEUS, found.take(~tumour.mask)),
        ]
    made = []
    for role, label, kind, mine in groups:
        measured = {(codes.MEAN_DAB_OD, codes.ONE): mine.od} if stained else {}
        made.append(group(role, label, kind, level, mine, measured))
    return tuple(each for each in made if each is not None)


def maps_of(level: Level, found: Nuclei, counted: Counted, values: Values) -> tuple[ParametricMap, ...]:
    """Per field the positive share in %, without an index the density of all nuclei."""
    if not len(found):
        return ()
    if counted.index is None:
        return (density_map(level, found.centres, values["field_um"]),)
    field_um, least = values["field_um"], values["min_field_nuclei"]
    label = "Positive nuclei per field"
    centres = counted.nuclei.centres
    return (share_map(level, centres, counted.positive, field_um, least, label, codes.POSITIVE_FRACTION),)
