"""Summaries: one for each visit, of what is newest, and only when nothing of the visit is under way any more."""

import datetime
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from airouter.adapters.database import DatabaseJournal
from airouter.adapters.memory import MemoryArchive
from airouter.domain.decision import Decision, Outcome
from airouter.domain.job import Discontinuation, Job, JobState
from airouter.domain.priority import Priority, Verdict
from airouter.domain.route import Condition, Route
from airouter.domain.study import Modality
from airouter.domain.summary import Report, SourceResult
from airouter.errors import JournalUnavailable
from airouter.pipelines import Extent
from airouter.ports import ResultRecord, StoredEvidence
from airouter.services.routing import Router
from airouter.services.summaries import Summaries, sources_of
from phantoms.dicom import fundus_instance, slide_instances
from tests.samples import job
from tests.unit.test_routing_extents import pipeline, route_to

PIPELINES = {
    each.name: each
    for each in (
        pipeline("single", Extent.IMAGE),
        pipeline("other", Extent.IMAGE),
        pipeline("whole", Extent.STUDY),
        pipeline("trend", Extent.HISTORY),
        pipeline("summary", Extent.RESULTS, None),
        pipeline("letter", Extent.RESULTS, None),
    )
}
MORNING = datetime.datetime(2026, 1, 5, 9, 0, 0, tzinfo=datetime.UTC)
NOON = MORNING.replace(hour=12)


class Queue:
    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.down = False

    def enqueue(self, one: Job) -> None:
        if self.down:
            raise JournalUnavailable("locked")
        if one.key not in [each.key for each in self.jobs]:
            self.jobs.append(one)


class Clinic:
    """An archive of photographs, and the routes that look at them."""

    def __init__(self, journal: DatabaseJournal) -> None:
        self.archive, self.journal, self.queue = MemoryArchive(), journal, Queue()
        self.use("single", "summary")

    def use(self, *names: str, **changes: Any) -> None:
        self.router = Router(tuple(route_to(name, **changes) for name in names), dict)
        self.summaries = Summaries(self.archive, self.journal, self.queue, self.router)  # type: ignore[arg-type]

    def photograph(self, study: str, **changes: Any) -> Dataset:
        known = {"patient_id": "P", "taken": MORNING, "study_uid": study, "transfer": "raw", **changes}
        made = fundus_instance(np.zeros((8, 8, 3), np.uint8), **known)
        self.archive.add(made)
        return made

    def id(self, study: str) -> str:
        (found,) = {s.id for s in self.archive.studies(study)}
        return found

    def route(self, study: str) -> list[Job]:
        """New jobs of a study, as the intake makes them."""
        found = self.archive.study(self.id(study))
        jobs = self.router.route(found, ours=set(), quiet=True).jobs
        return [each for each in jobs if self.journal.add(each)]

    def end(self, one: Job, said: str = "") -> None:
        """The job completes; `said` is its finding and the reason of its verdict."""
        self.journal.complete(
            ResultRecord(
                one.key,
                one.study_uid,
                ({"key": "k", "label": said, "region": None},),
                (StoredEvidence("scores", "1.2.840.10008.5.1.4.1.1.88.34", one.uid("scores"), "2.25.2", "i"),),
                Verdict(Priority.ROUTINE, said),
                (),
            )
        )
        self.summaries.consider(one.key)

    def look(self, study: str) -> list[Job]:
        """Everything of the study is analysed."""
        made = self.route(study)
        for each in made:
            self.end(each)
        return made


@pytest.fixture
def clinic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clinic]:
    for place in ("routing", "summaries"):
        monkeypatch.setattr(f"airouter.services.{place}.PIPELINES", PIPELINES)
    journal = DatabaseJournal(f"sqlite:///{tmp_path / 'j.sqlite'}")
    yield Clinic(journal)
    journal.close()


def test_it_waits_for_the_last_job_of_the_visit_however_that_ends(clinic: Clinic) -> None:
    for _ in range(3):
        clinic.photograph("1.1")
    one, two, three = clinic.route("1.1")
    clinic.end(one)
    clinic.journal.start(two.key, "none")
    assert clinic.queue.jobs == []
    clinic.end(two)
    assert clinic.queue.jobs == []
    clinic.journal.cancel(three.key, Discontinuation.OPERATOR, "canceled")
    clinic.summaries.consider(three.key)
    (made,) = clinic.queue.jobs
    assert made.results == tuple(sorted([one.key, two.key]))
    assert (made.pipeline, made.study_uid, made.modality) == ("summary", "1.1", Modality.OP)
    assert len(made.sources) == 3, "a summary is about all images that its route takes"


def test_a_second_call_makes_no_second_job_and_a_summary_makes_no_summary(clinic: Clinic) -> None:
    clinic.photograph("1.1")
    (one,) = clinic.look("1.1")
    clinic.summaries.consider(one.key)
    (made,) = clinic.queue.jobs
    clinic.end(made)
    clinic.summaries.consider(one.key)
    clinic.summaries.consider("unknown")
    assert [j.job.pipeline for j in clinic.journal.jobs()] == ["summary", "single"]


def test_without_a_route_to_a_summary_nothing_is_asked(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    clinic.use("single")
    clinic.photograph("1.1")
    clinic.look("1.1")
    monkeypatch.setattr(clinic.archive, "study", None)
    clinic.summaries.consider(clinic.journal.jobs()[0].job.key)
    clinic.summaries.consider_study("anything")
    assert clinic.queue.jobs == []


def test_a_study_that_is_gone_or_has_no_result_gets_none(clinic: Clinic) -> None:
    clinic.photograph("1.1")
    (one,) = clinic.route("1.1")
    clinic.journal.cancel(one.key, Discontinuation.FAILURE, "failed")
    clinic.summaries.consider(one.key)
    assert clinic.queue.jobs == []
    clinic.archive.delete_study(clinic.id("1.1"))
    clinic.summaries.consider(one.key)
    assert clinic.queue.jobs == []


def test_a_visit_is_all_that_the_patients_studies_of_a_day_hold(clinic: Clinic) -> None:
    clinic.photograph("1.2", taken=NOON)
    clinic.photograph("1.1")
    first, second = clinic.route("1.2"), clinic.route("1.1")
    clinic.end(first[0])
    assert clinic.queue.jobs == [], "a job of the other study has not ended"
    clinic.end(second[0])
    (made,) = clinic.queue.jobs
    assert set(made.results) == {first[0].key, second[0].key}
    assert made.study_uid == "1.1", "it lies in the visit's first study"


@pytest.mark.parametrize(
    "other",
    [
        {"taken": MORNING + datetime.timedelta(days=1)},
        {"patient_id": "Q"},
        {"patient_id": ""},
        {"born": "19700101"},
    ],
)
def test_other_days_and_other_people_are_no_part_of_it(clinic: Clinic, other: dict[str, Any]) -> None:
    born = other.pop("born", None)
    clinic.photograph("1.1")
    strange = clinic.photograph("1.2", **other)
    if born:
        strange.PatientBirthDate = born
        clinic.archive.add(strange)
    (one,), (two,) = clinic.route("1.1"), clinic.route("1.2")
    clinic.end(one)
    (made,) = clinic.queue.jobs
    assert made.results == (one.key,)
    clinic.end(two)
    assert [each.results for each in clinic.queue.jobs] == [(one.key,), (two.key,)]


def test_studies_without_a_patient_id_are_not_one_persons_and_not_even_read(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    for study in ("1.1", "1.2"):
        clinic.photograph(study, patient_id="")
    read: list[str] = []
    study = clinic.archive.study
    monkeypatch.setattr(clinic.archive, "study", lambda id: (read.append(id), study(id))[1])
    (one,) = clinic.look("1.1")
    (made,) = clinic.queue.jobs
    assert made.results == (one.key,)
    assert set(read) == {clinic.id("1.1")}


def test_of_each_pipeline_on_each_image_the_newest_result_counts(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.use("single", "other", "summary")
    clinic.photograph("1.1")
    old = {each.pipeline: each for each in clinic.look("1.1")}
    monkeypatch.setitem(PIPELINES, "single", replace(PIPELINES["single"], version="2"))
    (new,) = clinic.look("1.1")
    assert clinic.queue.jobs[-1].results == tuple(sorted([new.key, old["other"].key]))
    assert old["single"].key in clinic.queue.jobs[0].results


def test_a_job_over_more_images_stands_in_place_of_the_one_over_fewer(clinic: Clinic) -> None:
    clinic.use("whole", "single", "summary")
    clinic.photograph("1.1")
    clinic.look("1.1")
    clinic.photograph("1.1")
    later = {each.pipeline: each for each in clinic.look("1.1")}
    results = clinic.queue.jobs[-1].results
    jobs = [clinic.journal.job(key) for key in results]
    assert sorted(record.job.pipeline for record in jobs if record) == ["single", "single", "whole"]
    assert later["whole"].key in results


def test_priors_are_not_what_a_result_is_about(clinic: Clinic) -> None:
    clinic.use("trend", "summary")
    clinic.photograph("1.1")
    (alone,) = clinic.look("1.1")
    (record,) = clinic.journal.jobs(study_uid="1.1", state=JobState.COMPLETED)
    prior = replace(record.job.sources[0], uid="1.0.1", prior_study_id="old")
    compared = replace(alone, key="c" * 64, sources=(*alone.sources, prior))
    clinic.journal.add(compared)
    clinic.end(compared)
    assert clinic.queue.jobs[-1].results == (compared.key,)


def test_slides_are_left_out(clinic: Clinic) -> None:
    clinic.photograph("1.1")
    (slide,) = slide_instances(np.full((64, 64, 3), 200, np.uint8), 0.5, levels=1, study_uid="1.1", patient_id="P")
    clinic.archive.add(slide)
    stained = job(key="s" * 64, study_id=clinic.id("1.1"), study_uid="1.1", pipeline="single")
    clinic.journal.add(stained)
    clinic.end(stained)
    assert clinic.queue.jobs == [], "the job on a slide begins no summary"
    (one,) = [each for each in clinic.look("1.1") if each.modality is Modality.OP]
    (made,) = clinic.queue.jobs
    assert made.results == (one.key,)
    assert [source.uid for source in made.sources] == [source.uid for source in one.sources]


def test_it_waits_for_images_that_a_route_still_waits_for(clinic: Clinic) -> None:
    clinic.use("whole", "single", "summary")
    clinic.photograph("1.1")
    study = clinic.archive.study(clinic.id("1.1"))
    routed = clinic.router.route(study, ours=set(), quiet=False)
    clinic.journal.decide(routed.decisions)
    (single,) = routed.jobs
    clinic.journal.add(single)
    clinic.end(single)
    assert clinic.queue.jobs == []
    clinic.summaries.consider_study(study.id)
    assert clinic.queue.jobs == []
    settled = clinic.router.route(study, ours=set(), quiet=True)
    clinic.journal.decide(settled.decisions)
    clinic.summaries.consider_study(study.id)
    (made,) = clinic.queue.jobs
    assert made.results == (single.key,), "it rests, and no job of it ends any more"


def test_what_was_waited_for_and_is_gone_holds_nothing_back(clinic: Clinic) -> None:
    clinic.photograph("1.1")
    waiting = Decision("1.1", "9.9", Modality.OP, ("9.9.9",), "whole", "", Outcome.WAITING, "waiting")
    clinic.journal.decide([waiting])
    clinic.look("1.1")
    assert len(clinic.queue.jobs) == 1


def test_each_route_summarises_the_visit_once_in_the_first_study_that_it_takes(clinic: Clinic) -> None:
    left = (Condition(("ImageLaterality",), any_of=("L",)),)
    routes = (route_to("single"), route_to("summary"), Route("letter", "letter", "", left))
    clinic.router = Router(routes, dict)
    clinic.summaries = Summaries(clinic.archive, clinic.journal, clinic.queue, clinic.router)  # type: ignore[arg-type]
    clinic.photograph("1.1")
    clinic.photograph("1.2", taken=NOON, laterality="L")
    jobs = clinic.route("1.1") + clinic.route("1.2")
    for each in jobs:
        clinic.end(each)
    assert [(each.pipeline, each.study_uid) for each in clinic.queue.jobs] == [("summary", "1.1"), ("letter", "1.2")]


def test_a_job_that_the_queue_did_not_take_is_put_there_when_it_is_considered_again(clinic: Clinic) -> None:
    clinic.photograph("1.1")
    (one,) = clinic.route("1.1")
    clinic.queue.down = True
    with pytest.raises(JournalUnavailable):
        clinic.end(one)
    clinic.queue.down = False
    clinic.summaries.consider(one.key)
    assert len(clinic.queue.jobs) == 1


def test_a_summary_reads_the_results_oldest_first_and_leaves_out_what_is_gone(clinic: Clinic) -> None:
    for _ in range(3):
        clinic.photograph("1.1")
    jobs = clinic.route("1.1")
    for n in (2, 0, 1):
        clinic.end(jobs[n], f"finding {n}")
    (made,) = clinic.queue.jobs
    found = sources_of(replace(made, results=(*reversed(made.results), "gone")), clinic.journal)
    assert [s.job for s in found.results] == jobs
    assert [s.findings[0]["label"] for s in found.results] == ["finding 0", "finding 1", "finding 2"]
    assert [s.verdict.reason for s in found.results] == ["finding 0", "finding 1", "finding 2"]
    assert [r.uid for r in found.results[0].reports] == [jobs[0].uid("scores")]


# -- where a finding stands -------------------------------------------------------------------------------------------

REGIONS, SCORES = Report("report", "1.2.840.1", "2.25.1", "2.25.11"), Report("scores", "1.2.840.2", "2.25.2", "2.25.12")
MASK = Report("mask", "1.2.840.3", "2.25.3", "2.25.13")


@pytest.mark.parametrize(
    ("reports", "region", "expected"),
    [
        ((MASK, REGIONS, SCORES), {"source": "1"}, REGIONS),
        ((MASK, REGIONS, SCORES), None, SCORES),
        ((SCORES,), None, SCORES),
        ((REGIONS,), None, REGIONS),
        ((SCORES,), {"source": "1"}, SCORES),
        ((MASK,), None, None),
        ((), None, None),
    ],
)
def test_a_finding_stands_in_the_report_of_its_kind(
    reports: tuple[Report, ...], region: dict[str, str] | None, expected: Report | None
) -> None:
    one = job(key="k", study_uid="1.9", pipeline="single")
    source = SourceResult(one, (), reports, Verdict(Priority.ROUTINE, ""))
    origin = source.origin({"key": "cst", "label": "Central subfield", "region": region})
    if expected is None:
        assert origin is None
        return
    assert origin is not None
    assert (origin.sop_class, origin.uid, origin.series_uid) == (
        expected.sop_class,
        expected.uid,
        expected.series_uid,
    )
    assert (origin.study_uid, origin.tracking_uid) == ("1.9", one.uid("finding|cst"))
    assert origin.label == "single: Central subfield"
