"""The summary of a visit: every number is that of a source, and every group leads back to it."""

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airouter.domain import codes
from airouter.domain.finding import Evaluation, Finding, Measurement, Result, Ungradable
from airouter.domain.job import Source
from airouter.domain.priority import Ground, Priority, Verdict, standing, verdict_of
from airouter.domain.study import Laterality, Modality
from airouter.domain.summary import Report, SourceResult, Sources
from airouter.evidence.write import write
from airouter.pipelines import PIPELINES, Rules, garway_heath
from airouter.pipelines.garway_heath import Sector
from airouter.services.analyse import finding_values
from phantoms.dicom import fundus_instance, oct_instance
from tests import samples
from tests.dciodvfy import assert_conformant
from tests.pipelines.oracle import rests_on

PIPELINE = PIPELINES["visit-summary"]
RULES = PIPELINE.rules(Modality.OPT)
R, L = Laterality.R, Laterality.L
SR = "1.2.840.10008.5.1.4.1.1.88.34"


NOTHING = Verdict(Priority.ROUTINE, "nothing")


def source(pipeline, *findings, verdict=NOTHING, missing=(), study="1.2"):
    job = samples.job(key=f"key of {pipeline}", pipeline=pipeline, modality=Modality.OPT, study_uid=study)
    reports = (Report("report", SR, job.uid("report"), job.uid("report series")),)
    values = tuple(finding_values(f) for f in findings)
    return SourceResult(job, values, reports, verdict, tuple({"quantity": q, "reason": r} for q, r in missing))


def fluid(amount, eye=R, kind=codes.INTRARETINAL_FLUID):
    measured = (Measurement(codes.FLUID_VOLUME, amount, codes.UL),)
    return Finding("irf" if kind == codes.INTRARETINAL_FLUID else "srf", "Fluid", kind, None, codes.EYE, eye, measured)


def oedema(present, eye=R):
    value = codes.PRESENT if present else codes.ABSENT
    answer = (Evaluation(codes.DIABETIC_MACULAR_OEDEMA, value),)
    return Finding(f"oedema-{eye}", "Oedema", codes.DIABETIC_MACULAR_OEDEMA, None, codes.EYE, eye, (), answer)


def nerve(above=130.0, below=130.0, eye=R):
    thickness = {
        codes.RNFL_TEMPORAL: 70.0,
        codes.RNFL_TEMPORAL_SUPERIOR: above,
        codes.RNFL_NASAL_SUPERIOR: 100.0,
        codes.RNFL_NASAL: 75.0,
        codes.RNFL_NASAL_INFERIOR: 105.0,
        codes.RNFL_TEMPORAL_INFERIOR: below,
        codes.RNFL_AVERAGE: 95.0,
    }
    measured = tuple(Measurement(name, value, codes.UM) for name, value in thickness.items())
    return Finding("rnfl", "Nerve fibre layer", codes.RETINA, None, codes.EYE, eye, measured)


def field(eye=R, **deviations):
    return tuple(
        Finding(
            f"sector {sector}",
            f"Field of {sector}",
            garway_heath.CODES[sector],
            None,
            codes.EYE,
            eye,
            (Measurement(codes.MEAN_TOTAL_DEVIATION, deviations.get(sector.value, -1.0), codes.DECIBEL),),
        )
        for sector in Sector
    )


def run(*results, **parameters):
    job = samples.job(pipeline="visit-summary", modality=Modality.OPT, parameters=parameters)
    return PIPELINE.run(job, Sources(results), Rules(RULES), lambda *_: None)


def group(result, key):
    return next((f for f in result.findings if f.key == key), None)


def agreement(finding):
    return next((e.value for e in finding.evaluations if e.name == codes.VISIT_AGREEMENT), None)


def test_each_eye_has_a_summary_that_leads_to_all_of_its_findings():
    right, left = fluid(0.2), fluid(0.0, L)
    found = run(source("macular-oedema", right, left), source("diabetic-retinopathy", oedema(True)))
    one = group(found, "summary-R")
    assert [o.label for o in one.origins] == ["macular-oedema: Fluid", "diabetic-retinopathy: Oedema"]
    job = samples.job(key="key of macular-oedema", pipeline="macular-oedema")
    assert one.origins[0].tracking_uid == job.uid("finding|irf")
    assert one.origins[0].uid == job.uid("report")
    assert "0.2 uL" in one.comment and "Present" in one.comment
    assert [o.label for o in group(found, "summary-L").origins] == ["macular-oedema: Fluid"]


def test_an_eye_without_findings_is_named():
    found = run(source("macular-oedema", fluid(0.2)))
    assert group(found, "summary-L") is None
    assert ("summary of the left eye", "not analysed because nothing was found of this eye") in [
        (n.quantity, n.reason) for n in found.not_analysed
    ]


@pytest.mark.parametrize(
    ("amount", "seen", "expected"),
    [
        (0.2, True, codes.AGREE_BOTH),
        (0.2, False, codes.FIRST_ONLY),
        (0.001, True, codes.SECOND_ONLY),
        (0.001, False, codes.AGREE_NEITHER),
    ],
)
def test_fluid_beside_exudate(amount, seen, expected):
    found = run(
        source("macular-oedema", fluid(amount), fluid(0.001, kind=codes.SUBRETINAL_FLUID)),
        source("diabetic-retinopathy", oedema(seen)),
    )
    macula = group(found, "macula-R")
    assert agreement(macula) == expected
    assert macula.measurements == (Measurement(codes.FLUID_VOLUME, amount + 0.001, codes.UL),)
    assert len(macula.origins) == 3


def test_one_method_alone_is_no_agreement():
    found = run(source("macular-oedema", fluid(0.2)))
    assert group(found, "macula-R") is None
    reasons = {n.quantity: n.reason for n in found.not_analysed}
    quantity = "agreement of fluid and exudate at the macula, right eye"
    assert reasons[quantity] == "not analysed because no photograph says whether hard exudate lies near the fovea"


@pytest.mark.parametrize(
    ("above", "below", "deviations", "expected"),
    [
        # fibres of the lower half of the field enter the upper half of the disc
        (90.0, 130.0, {"superotemporal": -12.0}, codes.AGREE_BOTH),
        (130.0, 90.0, {"inferotemporal": -12.0}, codes.AGREE_BOTH),
        (90.0, 130.0, {"inferotemporal": -12.0}, codes.CONTRADICT),
        (90.0, 130.0, {}, codes.FIRST_ONLY),
        (130.0, 130.0, {"superotemporal": -12.0}, codes.SECOND_ONLY),
        (130.0, 125.0, {"superotemporal": -2.0}, codes.AGREE_NEITHER),
    ],
)
def test_the_thinner_half_belongs_to_the_worse_field(above, below, deviations, expected):
    found = run(source("nerve-fibre-layer", nerve(above, below)), source("visual-field", *field(**deviations)))
    assert agreement(group(found, "structure-function-R")) == expected


@given(st.floats(40, 180), st.floats(40, 180), st.floats(-30, 2), st.floats(-30, 2))
def test_upside_down_it_agrees_as_before(above, below, high, low):
    one = run(
        source("nerve-fibre-layer", nerve(above, below)),
        source("visual-field", *field(inferotemporal=high, superotemporal=low)),
    )
    other = run(
        source("nerve-fibre-layer", nerve(below, above)),
        source("visual-field", *field(inferotemporal=low, superotemporal=high)),
    )
    assert agreement(group(one, "structure-function-R")) == agreement(group(other, "structure-function-R"))


def test_sectors_are_judged_only_by_the_sites_own_limits():
    sources = (source("nerve-fibre-layer", nerve(90.0)), source("visual-field", *field(superotemporal=-12.0)))
    plain = group(run(*sources), "sector-superotemporal-R")
    assert {m.name: m.value for m in plain.measurements} == {
        codes.RNFL_TEMPORAL_SUPERIOR: 90.0,
        codes.MEAN_TOTAL_DEVIATION: -12.0,
    }
    assert agreement(plain) is None and "not judged" in plain.comment
    judged = run(*sources, thin_superotemporal_um=100, thin_nasal_um=60)
    assert agreement(group(judged, "sector-superotemporal-R")) == codes.AGREE_BOTH
    assert agreement(group(judged, "sector-nasal-R")) == codes.AGREE_NEITHER


def test_quadrants_are_not_taken_for_sectors():
    quadrants = Finding(
        "rnfl", "RNFL", codes.RETINA, None, codes.EYE, R, (Measurement(codes.RNFL_TEMPORAL, 60.0, codes.UM),)
    )
    found = run(source("nerve-fibre-layer", quadrants), source("visual-field", *field()))
    assert group(found, "sector-temporal-R") is None


def test_the_other_eye_takes_no_part():
    found = run(source("nerve-fibre-layer", nerve(90.0)), source("visual-field", *field(L, superotemporal=-12.0)))
    assert group(found, "structure-function-R") is None and group(found, "structure-function-L") is None


def test_the_most_urgent_result_decides():
    urgent = Verdict(Priority.STAT, "retinal detachment suspected")
    found = run(source("macular-oedema", fluid(0.0)), source("critical-findings", oedema(False), verdict=urgent))
    assert found.verdict.priority is Priority.STAT
    assert found.verdict.reason == "summary of the visit: retinal detachment suspected"
    assert rests_on(found.verdict) == ["key of criti oedema-R-R"]
    assert run(source("macular-oedema", fluid(0.0))).verdict.priority is Priority.ROUTINE


def test_each_urgent_reason_rests_on_what_repeats_its_findings():
    wet, thick = Ground(Priority.HIGH, "fluid", ("irf",)), Ground(Priority.HIGH, "thickness", ("srf",))
    oct_ = source("macular-oedema", fluid(0.2), fluid(0.1, L, codes.SUBRETINAL_FLUID), verdict=verdict_of(wet, thick))
    stat = verdict_of(Ground(Priority.STAT, "detachment", ("oedema-R",)))
    found = run(oct_, source("critical-findings", oedema(True), verdict=stat)).verdict
    assert [(g.priority, g.reason, g.findings) for g in found.grounds] == [
        (Priority.HIGH, "summary of the visit: fluid", ("key of macul irf-R",)),
        (Priority.HIGH, "summary of the visit: thickness", ("key of macul srf-L",)),
        (Priority.STAT, "summary of the visit: detachment", ("key of criti oedema-R-R",)),
    ]
    after = standing(found, {"key of criti oedema-R-R", "key of macul srf-L"}, ())
    assert (after.priority, after.reason) == (Priority.HIGH, "summary of the visit: fluid")


def test_what_no_finding_repeats_rests_on_those_that_refer_to_it():
    spot = Finding("spot", "Spot", codes.RETINAL_HAEMORRHAGE, None, codes.EYE, R)
    found = run(source("lesions", spot, verdict=verdict_of(Ground(Priority.HIGH, "a spot", ("spot",))))).verdict
    assert rests_on(found) == ["summary-R"]


def test_what_the_jobs_could_not_say_is_told_once():
    missing = (("CST", "not analysed because the scan is a line"),)
    found = run(source("macular-oedema", fluid(0.0), missing=missing), source("x", missing=missing))
    assert [n.quantity for n in found.not_analysed].count("CST") == 1


def test_single_lesions_are_linked_and_not_told_again():
    certain = (Measurement(codes.CERTAINTY_OF_FINDING, 90.0, codes.PERCENT),)
    spot = Finding("haemorrhage-1", "Haemorrhage 1", codes.HAEMORRHAGE, None, codes.RETINA, R, certain)
    found = run(source("diabetic-retinopathy", spot, oedema(True)))
    head = group(found, "summary-R")
    assert len(head.origins) == 2 and "Haemorrhage" not in head.comment
    assert [f.label for f in found.findings] == ["Summary of the right eye", "Oedema"]


def test_nothing_at_all_is_no_summary():
    assert isinstance(run(source("x")), Ungradable)
    why = run(source("x", missing=(("x", "not analysed because it is dark"),)))
    assert why == Ungradable("not analysed because it is dark")


def test_it_becomes_a_report_that_refers_to_the_others_in_other_studies_too():
    image = oct_instance(np.zeros((2, 16, 16), np.uint8))
    photograph = fundus_instance(np.zeros((32, 32, 3), np.uint8), study_uid=image.StudyInstanceUID)
    sources = {ds.SOPInstanceUID: ds for ds in (image, photograph)}
    job = samples.job(
        pipeline="visit-summary",
        modality=Modality.OPT,
        study_uid=image.StudyInstanceUID,
        sources=tuple(Source("i", uid, "d") for uid in sorted(sources)),
    )
    here = source("macular-oedema", fluid(0.2), study=image.StudyInstanceUID)
    there = source("visual-field", *field(), study="1.2.3.4")
    found = PIPELINE.run(job, Sources((here, there)), Rules(RULES), lambda *_: None)
    assert isinstance(found, Result)
    (written,) = write(job, RULES, found, sources, now=datetime(2026, 1, 1))
    assert_conformant(written.dataset)
    assert [s.StudyInstanceUID for s in written.dataset.PertinentOtherEvidenceSequence] == ["1.2.3.4"]
    inferred = {
        i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID: i.ContentSequence[0].UID
        for group in _groups(written.dataset)
        for i in group.ContentSequence
        if i.ConceptNameCodeSequence[0].CodeValue == codes.SOURCE_FINDING.value
    }
    assert inferred[here.job.uid("report")] == here.job.uid("finding|irf")
    assert set(inferred) == {here.job.uid("report"), there.job.uid("report")}


def _groups(report):
    container = next(i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010")
    return list(container.ContentSequence)
