"""What a review writes: verified reports and key object selections, on every kind of source."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from pydicom.dataset import Dataset

from airouter.domain import codes
from airouter.domain.finding import Result
from airouter.domain.job import Job
from airouter.errors import EvidenceError
from airouter.evidence.identity import STATUS
from airouter.evidence.key_object import Listed, selection
from airouter.evidence.reader import Reader
from airouter.evidence.source import slide_geometry
from airouter.evidence.verified import Accepted, Predecessor, tracking_uids, verified
from airouter.evidence.write import write
from airouter.services.analyse import finding_values
from tests import evidence_samples as samples
from tests.dciodvfy import assert_conformant
from tests.unit.test_evidence_write import CASES, groups, stored

NOW = datetime(2026, 3, 5, 6, 7, 8, tzinfo=UTC)
READER = Reader("Müller^Anna", "Klinikum Süd")


@dataclass(frozen=True)
class Written:
    sources: Mapping[str, Dataset]
    result: Result
    job: Job
    objects: Mapping[str, Dataset]

    def findings(self, role: str) -> dict[str, dict[str, Any]]:
        """Plain values of the findings of one report, by Tracking UID."""
        there = tracking_uids(self.objects[role])
        values = {self.job.uid(f"finding|{f.key}"): finding_values(f) for f in self.result.findings}
        return {uid: finding for uid, finding in values.items() if uid in there}

    def predecessor(self, role: str) -> Predecessor:
        ds = self.objects[role]
        return Predecessor(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPClassUID, ds.SOPInstanceUID, True)

    def verified(self, report: str, accepted: list[Accepted], whole: bool = False, **changes: Any) -> Dataset:
        arguments: dict[str, Any] = {
            "job": self.job, "role": f"review|1|{report}", "predecessor": self.predecessor(report), "reader": READER,
            "now": NOW, "revision": 1, "whole": whole,
        }  # fmt: skip
        return stored(verified(self.objects[report], accepted, **{**arguments, **changes}))

    def all(self, role: str) -> list[Accepted]:
        return [Accepted(uid, values) for uid, values in self.findings(role).items()]


def make(case: str) -> Written:
    sources, results = CASES[case]
    images = sources()
    result = results(images)
    job = samples.job(images)
    objects = {w.role: stored(w.dataset) for w in write(job, samples.model(), result, images, now=samples.NOW)}
    return Written(images, result, job, objects)


@pytest.fixture(scope="module", params=CASES)
def written(request: pytest.FixtureRequest) -> Written:
    return make(request.param)


def reports(written: Written) -> list[str]:
    return [role for role in ("report", "scores") if role in written.objects]


def items(group: Dataset) -> dict[str, Dataset]:
    return {i.ConceptNameCodeSequence[0].CodeValue: i for i in group.ContentSequence}


def tracked(group: Dataset) -> str:
    return str(items(group)["112040"].UID)


def test_accepting_everything_gives_the_same_content_under_a_new_status(written: Written) -> None:
    for role in reports(written):
        before = written.objects[role]
        after = written.verified(role, written.all(role), whole=True)
        assert_conformant(after)
        assert (after.CompletionFlag, after.VerificationFlag, after.PreliminaryFlag) == (
            "COMPLETE", "VERIFIED", "FINAL"
        )  # fmt: skip
        assert [g.to_json() for g in groups(after)] == [g.to_json() for g in groups(before)]
        assert (before.VerificationFlag, before.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
        for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "ContentQualification", "SoftwareVersions"):
            assert str(after.get(keyword)) == str(before.get(keyword))
        assert [i.to_json() for i in after.ContributingEquipmentSequence] == [
            i.to_json() for i in before.ContributingEquipmentSequence
        ]
        assert len({d.SeriesInstanceUID for d in written.objects.values()} | {after.SeriesInstanceUID}) == (
            len(written.objects) + 1
        )
        assert after.SOPInstanceUID not in {d.SOPInstanceUID for d in written.objects.values()}
        assert after.SeriesDescription.endswith("[VERIFIED by Müller Anna]")
        assert STATUS not in after.SeriesDescription and len(after.SeriesDescription) <= 64


def test_it_says_who_verified_it_and_what_it_takes_the_place_of(written: Written) -> None:
    for role in reports(written):
        before = written.objects[role]
        after = written.verified(role, written.all(role))
        (observer,) = after.VerifyingObserverSequence
        assert (str(observer.VerifyingObserverName), observer.VerifyingOrganization) == ("Müller^Anna", "Klinikum Süd")
        assert observer.VerificationDateTime == "20260305060708+0000"
        assert not observer.VerifyingObserverIdentificationCodeSequence
        (study,) = after.PredecessorDocumentsSequence
        (series,) = study.ReferencedSeriesSequence
        (instance,) = series.ReferencedSOPSequence
        assert (study.StudyInstanceUID, series.SeriesInstanceUID, instance.ReferencedSOPInstanceUID) == (
            before.StudyInstanceUID, before.SeriesInstanceUID, before.SOPInstanceUID
        )  # fmt: skip
        assert instance.PurposeOfReferenceCodeSequence[0].CodeValue == "121362"
        kinds = [
            i.ConceptCodeSequence[0].CodeValue
            for i in after.ContentSequence
            if i.ConceptNameCodeSequence[0].CodeValue == "121005"
        ]
        assert kinds == ["121006", "121007"]


def test_a_later_revision_replaces_the_former_one(written: Written) -> None:
    role = reports(written)[0]
    first = written.verified(role, written.all(role))
    former = Predecessor(
        first.StudyInstanceUID, first.SeriesInstanceUID, first.SOPClassUID, first.SOPInstanceUID, preliminary=False
    )
    second = written.verified(role, written.all(role), predecessor=former, role="review|2|report", revision=2)
    assert_conformant(second)
    (instance,) = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert instance.ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert instance.PurposeOfReferenceCodeSequence[0].CodeValue == "121360"
    assert second.SOPInstanceUID != first.SOPInstanceUID
    assert second.SeriesInstanceUID != first.SeriesInstanceUID


def test_only_what_was_accepted_is_in_it(written: Written) -> None:
    for role in reports(written):
        for one in written.all(role):
            after = written.verified(role, [one])
            assert_conformant(after)
            assert [tracked(g) for g in groups(after)] == [one.tracking_uid]
            read = hd.sr.Comprehensive3DSR.from_dataset(after)
            found = [
                *read.content.get_planar_roi_measurement_groups(), *read.content.get_image_measurement_groups()
            ]  # fmt: skip
            assert [str(g.tracking_uid) for g in found] == [one.tracking_uid]


def test_masks_are_referred_to_only_where_all_of_them_stand(written: Written) -> None:
    siblings = {d.SOPInstanceUID for d in written.objects.values() if d.Modality != "SR"}
    role = reports(written)[0]

    def references(ds: Dataset) -> set[str]:
        return {
            i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
            for i in ds.ContentSequence
            if i.ConceptNameCodeSequence[0].CodeValue == codes.RESULT_OBJECT.value
        }

    def evidence(ds: Dataset) -> set[str]:
        return {
            i.ReferencedSOPInstanceUID
            for study in ds.CurrentRequestedProcedureEvidenceSequence
            for series in study.ReferencedSeriesSequence
            for i in series.ReferencedSOPSequence
        }

    whole, part = written.verified(role, written.all(role), whole=True), written.verified(role, written.all(role))
    assert siblings and references(whole) == siblings and siblings <= evidence(whole)
    assert not references(part) and not siblings & evidence(part)
    assert evidence(part) >= {next(iter(written.sources))}


def test_the_machines_priority_is_no_statement_of_the_reader(written: Written) -> None:
    role = reports(written)[0]
    after = written.verified(role, written.all(role), whole=True)
    assert "PRIORITY" not in after.to_json()
    (container,) = [i for i in after.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "C0034375"]
    assert [i.ConceptNameCodeSequence[0].CodeValue for i in container.ContentSequence] == ["NOT-ANALYSED"]


def by_hand(item: Dataset) -> bool:
    """Whether an item says that a person made it, and who."""
    inside = items(item)
    return (
        inside["121401"].ConceptCodeSequence[0].CodeValue == "87982008"
        and "121005" not in inside  # without an Observer Type it is a person
        and str(inside["121008"].PersonName) == "Müller^Anna"
    )


def test_an_amended_number_carries_its_author_and_nothing_else_changes(written: Written) -> None:
    role = reports(written)[0]
    for uid, values in written.findings(role).items():
        for measurement in values["measurements"]:
            concept = measurement["name"]["value"]
            amendment = {"measurements": {concept: 42.5}, "evaluations": {}, "points": None}
            others = [a for a in written.all(role) if a.tracking_uid != uid]
            after = written.verified(role, [Accepted(uid, values, amendment), *others])
            assert_conformant(after)
            before = {tracked(g): g for g in groups(written.objects[role])}
            for group in groups(after):
                same = before[tracked(group)]
                if tracked(group) != uid:
                    assert group.to_json() == same.to_json()
                    continue
                for one, other in zip(group.ContentSequence, same.ContentSequence, strict=True):
                    if one.ConceptNameCodeSequence[0].CodeValue != concept:
                        assert one.to_json() == other.to_json()
                        continue
                    assert float(one.MeasuredValueSequence[0].NumericValue) == 42.5
                    assert by_hand(one)
            read = hd.sr.Comprehensive3DSR.from_dataset(after).content
            (group,) = read.get_planar_roi_measurement_groups(tracking_uid=uid)
            assert 42.5 in [m.value for m in group.get_measurements()]


def test_an_amended_answer_is_another_code_of_the_same_set() -> None:
    written = make("fundus phantom")
    ((uid, values),) = written.findings("scores").items()
    amendment = {"measurements": {}, "evaluations": {"GRADABILITY": "UNGRADABLE"}, "points": None}
    after = written.verified("scores", [Accepted(uid, values, amendment)])
    assert_conformant(after)
    (group,) = groups(after)
    answer = items(group)["GRADABILITY"]
    assert answer.ConceptCodeSequence[0].CodeValue == "UNGRADABLE"
    assert answer.ConceptCodeSequence[0].CodeMeaning == "Ungradable"
    assert by_hand(answer)
    read = hd.sr.Comprehensive3DSR.from_dataset(after).content.get_image_measurement_groups()[0]
    assert {e.value.value for e in read.get_qualitative_evaluations()} == {"RID12", "UNGRADABLE"}


@pytest.mark.parametrize("case", CASES)
def test_an_amended_region_is_where_the_reader_drew_it(case: str) -> None:
    written = make(case)
    finding = next(f for f in written.result.findings if f.region is not None)
    assert finding.region is not None
    uid = written.job.uid(f"finding|{finding.key}")
    source = written.sources[finding.region.source]
    drawn = np.array([[3.5, 4.0], [30.0, 5.5], [20.25, 30.0]])
    amendment = {"measurements": {}, "evaluations": {}, "points": drawn.tolist()}
    after = written.verified("report", [Accepted(uid, finding_values(finding), amendment, source)])
    assert_conformant(after)
    (group,) = hd.sr.Comprehensive3DSR.from_dataset(after).content.get_planar_roi_measurement_groups()
    points = group.roi.value[:-1] if finding.region.graphic == "POLYGON" else group.roi.value
    if source.Modality == "SM":
        points = slide_geometry(source).to_pixels(points)
        assert group.roi.frame_of_reference_uid == source.FrameOfReferenceUID
    np.testing.assert_allclose(points, drawn, atol=1e-2)
    said = [i for i in groups(after)[0].ContentSequence if "drawn by the reader" in str(i.get("TextValue", ""))]
    assert len(said) == 1 and by_hand(said[0])


def test_the_machine_verifies_nothing() -> None:
    written = make("fundus phantom")
    for nobody in ("", "  ", "^", "^^="):
        with pytest.raises(EvidenceError, match="named person"):
            Reader(nobody)
    with pytest.raises(EvidenceError, match="without a finding"):
        written.verified("report", [])


def test_it_never_makes_up_a_finding_or_a_value() -> None:
    written = make("fundus phantom")
    one = written.all("report")[0]
    with pytest.raises(EvidenceError, match="not in report"):
        written.verified("report", [replace(one, tracking_uid="2.25.1")])
    for change in (
        {"measurements": {"nothing": 1.0}, "evaluations": {}, "points": None},
        {"measurements": {}, "evaluations": {"nothing": "x"}, "points": None},
    ):
        with pytest.raises(EvidenceError, match="to amend"):
            written.verified("report", [replace(one, amendment=change)])
    scores = written.all("scores")[0]
    with pytest.raises(EvidenceError, match="no region"):
        written.verified(
            "scores", [replace(scores, amendment={"measurements": {}, "evaluations": {}, "points": [[1, 1]]})]
        )


def test_a_reader_without_an_organization_is_still_named() -> None:
    written = make("fundus phantom")
    after = written.verified("scores", written.all("scores"), reader=Reader("reader1"))
    assert_conformant(after)
    assert str(after.VerifyingObserverSequence[0].VerifyingObserverName) == "reader1"


@pytest.mark.parametrize("title", [codes.REJECTED, codes.REJECTION_WITHDRAWN])
def test_a_selection_lists_every_object_of_the_job(written: Written, title: Any) -> None:
    role = reports(written)[0]
    listed = [Listed(d.SOPClassUID, d.SOPInstanceUID, d.SeriesInstanceUID) for d in written.objects.values()]
    reasons = [codes.REJECT_FALSE, codes.REJECT_QUALITY] if title is codes.REJECTED else []
    ds = stored(
        selection(
            title, listed, "Hotspot 1; Tracking UID 2.25.5; ümlaut", reasons, report=written.objects[role],
            job=written.job, role="review|1|rejection", reader=READER, now=NOW, revision=3,
        )
    )  # fmt: skip
    assert_conformant(ds)
    assert ds.ConceptNameCodeSequence[0].CodeValue == title.value
    read = hd.ko.KeyObjectSelectionDocument.from_dataset(ds).content
    assert {r.referenced_sop_instance_uid for r in read.get_references()} == {each.uid for each in listed}
    for item in ds.ContentSequence:
        if item.ValueType in ("IMAGE", "COMPOSITE"):
            assert "ConceptNameCodeSequence" not in item
    given = [
        i.ConceptCodeSequence[0].CodeValue
        for i in ds.ContentSequence
        if "ConceptNameCodeSequence" in i and i.ConceptNameCodeSequence[0].CodeValue == "113011"
    ]
    assert given == [r.value for r in reasons]
    assert (ds.StudyInstanceUID, ds.PatientID) == (written.job.study_uid, written.objects[role].PatientID)
    assert read.get_observer_contexts()[0].observer_identifying_attributes.name == "Müller^Anna"


def test_the_finding_keeps_its_meaning(written: Written) -> None:
    """Findings, codes and laterality are the machine's: a reader amends values, never what was looked for."""
    for role in reports(written):
        after = written.verified(role, written.all(role))
        for one, other in zip(groups(after), groups(written.objects[role]), strict=True):
            for name in ("121071", "112039", "363698007"):
                assert (name in items(one)) == (name in items(other))
