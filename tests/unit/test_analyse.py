"""Running a job: no half of a result stays behind, and of two that end together the more urgent marks the study."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydicom.uid import generate_uid

from airouter.adapters import results, tables
from airouter.adapters.database import DatabaseJournal
from airouter.adapters.memory import MemoryArchive
from airouter.domain.decision import Outcome
from airouter.domain.finding import Embedding, Result, Ungradable
from airouter.domain.job import Discontinuation, Job, JobState, ModelReference, Source
from airouter.domain.model import HeadKind, contract, rules
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.domain.rescan import Fitness
from airouter.domain.study import Modality
from airouter.errors import ArchiveError, ArchiveUnavailable, EvidenceConflict, RouterError
from airouter.evidence.write import Written
from airouter.pipelines import Extent, Pipeline
from airouter.ports import ResultRecord
from airouter.services import analyse, opening
from airouter.services.analyse import Analyst
from airouter.services.worklist import publish
from tests.contract.test_archive import report, volume
from tests.samples import job, model

STUDY = "1.2.826.0.1.77"
EMBEDDED = Result(
    findings=(),
    verdict=Verdict(Priority.ROUTINE, "embedded"),
    embedding=Embedding(np.array([0, 1], np.float32), np.zeros((0, 2), np.float32), (), ()),
)


class Bench:
    """An analyst on the archive in memory. Its pipeline gives the verdict that a job's parameter names."""

    def __init__(self, journal: DatabaseJournal) -> None:
        self.archive, self.journal = MemoryArchive(), journal
        self.source = volume(STUDY)
        self.id = self.archive.add(self.source)
        (self.study,) = {s.id for s in self.archive.studies(STUDY)}
        self.phases: list[tuple[str, str]] = []
        self.analyst = Analyst(
            self.archive,
            journal,
            lambda name: SimpleNamespace(model=model(), provider="CPUExecutionProvider"),  # type: ignore[arg-type, return-value]
            now=lambda: datetime.now(UTC),
            interrupted=lambda key: False,
            took=self._took,
        )

    def _took(self, pipeline: str, phase: str, seconds: float) -> None:
        assert seconds >= 0
        self.phases.append((pipeline, phase))

    def add(self, key: str, priority: Priority = Priority.ROUTINE, **changes: Any) -> Job:
        (instance,) = (i for i in self.archive.study(self.study).instances if i.id == self.id)
        made = job(
            key=key,
            study_id=self.study,
            study_uid=STUDY,
            modality=Modality.OPT,
            sources=(Source(self.id, instance.uid, instance.digest),),
            parameters={"verdict": priority.value},
            **changes,
        )
        self.journal.add(made)
        return made


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    def run(one: Job, *_: Any) -> Result:
        priority = Priority(str(one.parameters["verdict"]))
        return Result(findings=(), verdict=Verdict(priority, priority.value))

    def write(one: Job, *_: Any, **__: Any) -> tuple[Written, ...]:
        return tuple(
            Written(role, report(STUDY, uid=one.uid(role), series=one.uid(f"{role} series"))) for role in ("seg", "sr")
        )

    def judge(one: Job, *_: Any) -> Result:
        fit = one.parameters["verdict"] == "ROUTINE"
        reason = "fit" if fit else "rescan before reading: folded 30 % of the tissue"
        verdict = Verdict(Priority.ROUTINE if fit else Priority.LOW, reason)
        return Result(findings=(), verdict=verdict, fitness=Fitness(fit, reason, 99.0 if fit else 60.0, "S26-1"))

    pipelines: Mapping[str, Any] = {
        "rules": Pipeline("rules", "1", Modality.OPT, None, (), run),
        "trend": Pipeline("trend", "1", Modality.OPT, HeadKind.SEGMENTATION, (), run, extent=Extent.HISTORY),
        "whole": Pipeline("whole", "1", Modality.OPT, HeadKind.SEGMENTATION, (), run, extent=Extent.STUDY),
        "test": Pipeline("test", "1", Modality.SM, HeadKind.SEGMENTATION, (), run),
        "judges": Pipeline("judges", "1", Modality.SM, HeadKind.SEGMENTATION, (), judge),
        "embeds": Pipeline("embeds", "1", Modality.SM, HeadKind.EMBEDDING, (), lambda *_: EMBEDDED, evidence=False),
    }
    for module in (analyse, opening):
        monkeypatch.setattr(module, "PIPELINES", pipelines)
    for name in ("open_images", "open_history", "open_visit"):
        monkeypatch.setattr(opening, name, lambda *_: object())
    monkeypatch.setattr(analyse, "write", write)
    journal = DatabaseJournal(f"sqlite:///{tmp_path / 'j.sqlite'}")
    yield Bench(journal)
    journal.close()


def test_a_companion_that_changed_ends_the_job_as_outdated(bench: Bench) -> None:
    same, other = ModelReference.of(model()), replace(ModelReference.of(model()), sha256="cd" * 32)
    bench.analyst.run(bench.add("fits", companions={"tissue": same}).key)
    bench.analyst.run(bench.add("changed", companions={"tissue": other}).key)
    (fits, changed) = (bench.journal.job(key) for key in ("fits", "changed"))
    assert fits is not None and fits.state is JobState.COMPLETED
    assert changed is not None and changed.state is JobState.CANCELED
    assert changed.reason is not None and "demo, its tissue, is no longer the one" in changed.reason


def test_an_embedding_is_kept_in_the_journal_and_nothing_is_stored(bench: Bench) -> None:
    bench.analyst.run(bench.add("embeds", pipeline="embeds").key)
    (kept,) = bench.journal.embeddings()
    assert (kept.job, kept.study_id, kept.embedding.slide.tolist()) == ("embeds", bench.study, [0.0, 1.0])
    (result,) = bench.journal.results(STUDY)
    assert (result.evidence, result.findings) == ((), ())
    assert count(bench) == 1
    assert bench.phases == [("embeds", "open"), ("embeds", "analyse"), ("embeds", "store")]


def test_an_unfit_slide_comes_on_the_technicians_list_until_its_rescan_is_fit(bench: Bench) -> None:
    bench.analyst.run(bench.add("bad", Priority.LOW, pipeline="judges", series_uid="1.1").key)
    (entry,) = bench.journal.rescans()
    assert (entry.series_uid, entry.fitness.usable_percent) == ("1.1", 60.0)
    marks = bench.archive.marks[bench.study]
    assert marks["rescan"] == marks["reason"] == "rescan before reading: folded 30 % of the tissue"
    assert (marks["priority"], bench.archive.labels[bench.study]) == ("LOW", "ai-low")
    bench.analyst.run(bench.add("good", pipeline="judges", series_uid="1.2").key)
    assert bench.journal.rescans() == []
    assert "rescan" not in bench.archive.marks[bench.study]


def test_a_fit_slide_leaves_no_mark(bench: Bench) -> None:
    bench.analyst.run(bench.add("good", pipeline="judges").key)
    assert "rescan" not in bench.archive.marks[bench.study]
    assert bench.journal.rescans() == []


def count(bench: Bench) -> int:
    return len(bench.archive.study(bench.study).instances)


@pytest.mark.parametrize("step", ["store", "mark"])
@pytest.mark.parametrize("failure", [EvidenceConflict("another stands there"), ArchiveError("HTTP 403")])
def test_a_job_that_fails_while_it_stores_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str, failure: RouterError
) -> None:
    healthy, calls = getattr(bench.archive, step), []

    def fail(*arguments: Any) -> Any:
        calls.append(arguments)
        if step == "mark" or len(calls) == 2:
            raise failure
        return healthy(*arguments)

    monkeypatch.setattr(bench.archive, step, fail)
    bench.add("k")
    bench.analyst.run("k")
    record = bench.journal.job("k")
    assert record is not None
    assert (record.state, record.discontinuation) == (JobState.CANCELED, Discontinuation.FAILURE)
    assert count(bench) == 1


def test_it_is_told_how_long_each_phase_took(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.add("k")
    bench.analyst.run("k")
    assert bench.phases == [("test", phase) for phase in ("open", "analyse", "write", "store")]
    bench.phases.clear()
    monkeypatch.setattr(opening, "open_images", lambda *_: Ungradable("not analysed because it is a test"))
    bench.add("other")
    bench.analyst.run("other")
    assert bench.phases == [("test", "open")]
    bench.phases.clear()

    def broken(*_: Any) -> Any:
        raise EvidenceConflict("another stands there")

    monkeypatch.setattr(opening, "open_images", lambda *_: object())
    monkeypatch.setattr(bench.archive, "store", broken)
    bench.add("third")
    bench.analyst.run("third")
    assert bench.phases == [("test", phase) for phase in ("open", "analyse", "write")]


def test_what_is_stored_stays_where_the_job_is_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise ArchiveUnavailable("HTTP 503")

    bench.add("k")
    with monkeypatch.context() as patch:
        patch.setattr(bench.archive, "mark", away)
        with pytest.raises(ArchiveUnavailable):
            bench.analyst.run("k")
    assert count(bench) == 3
    bench.analyst.run("k")
    assert count(bench) == 3
    assert bench.journal.counts() == {JobState.COMPLETED: 1}


def test_the_more_urgent_of_two_jobs_that_end_together_marks_the_study(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The urgent one has marked and is not recorded yet; the other must not ask for the verdict before it is."""
    bench.add("urgent", Priority.STAT, route="one")
    bench.add("other", route="other")
    marked, asked = threading.Event(), threading.Event()
    mark, verdict = bench.archive.mark, bench.journal.verdict

    def slow(study: str, marks: Mapping[str, str]) -> None:
        mark(study, marks)
        if marks["priority"] == "STAT" and not marked.is_set():
            marked.set()
            asked.wait(0.5)  # without a lock the other asks now and sees nothing

    def ask(study_uid: str, coming: Any = None) -> Any:
        found = verdict(study_uid, coming)
        if marked.is_set():
            asked.set()
        return found

    monkeypatch.setattr(bench.archive, "mark", slow)
    monkeypatch.setattr(bench.journal, "verdict", ask)
    urgent = threading.Thread(target=bench.analyst.run, args=("urgent",))
    urgent.start()
    assert marked.wait(30)
    other = threading.Thread(target=bench.analyst.run, args=("other",))
    other.start()
    for thread in (urgent, other):
        thread.join(30)
    assert bench.journal.counts() == {JobState.COMPLETED: 2}
    assert bench.archive.marks[bench.study]["priority"] == "STAT"


def test_of_two_nodes_the_one_that_marks_last_marks_what_the_journal_says(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another node ends an urgent job of the study between our job's record and our mark."""
    bench.add("ours", route="one")
    bench.add("theirs", Priority.STAT, route="other")
    mark = bench.archive.mark
    marked: list[str] = []

    def late(study: str, marks: Mapping[str, str]) -> None:
        if len(marked) == 1:  # we have recorded ours, and are about to mark it
            theirs = ResultRecord("theirs", STUDY, (), (), Verdict(Priority.STAT, "theirs"), ())
            bench.journal.complete(theirs)
            mark(study, {"priority": "STAT", "reason": "theirs", "reading": ""})
        marked.append(marks["priority"])
        mark(study, marks)

    monkeypatch.setattr(bench.archive, "mark", late)
    bench.analyst.run("ours")
    assert marked == ["ROUTINE", "ROUTINE", "STAT"]
    assert bench.archive.marks[bench.study]["reason"] == "theirs"


def test_a_newer_result_takes_an_old_priority_off_the_study(bench: Bench) -> None:
    bench.analyst.run(bench.add("old", Priority.STAT).key)
    assert bench.archive.labels[bench.study] == "ai-stat"
    bench.analyst.run(bench.add("new", model_version="2").key)
    assert [(r.job, r.superseded) for r in bench.journal.results(STUDY)] == [("old", True), ("new", False)]
    assert bench.archive.marks[bench.study] == {"priority": "ROUTINE", "reason": "ROUTINE"}
    assert bench.archive.labels[bench.study] == "ai-routine"
    (entry,) = bench.journal.worklist()
    assert entry.verdict.priority is Priority.ROUTINE


def test_a_study_with_a_summary_of_another_one_is_marked_with_it(bench: Bench) -> None:
    """A finding is rejected where it was found, and the summary in the visit's other study is urgent no more."""
    elsewhere = bench.archive.add(volume("1.2.826.0.1.78"))
    (other,) = {s.id for s in bench.archive.studies("1.2.826.0.1.78")}
    found = bench.add("found", Priority.STAT)
    bench.analyst.run("found")
    there = replace(found, key="summary", study_id=other, study_uid="1.2.826.0.1.78", pipeline="s", results=("found",))
    bench.journal.add(there)
    stat = verdict_of(Ground(Priority.STAT, "as found", ("k",)))
    repeated = {"key": "k", "origins": [{"tracking_uid": found.tracking_uid("k")}]}
    bench.journal.complete(ResultRecord("summary", there.study_uid, (repeated,), (), stat, ()))
    publish(bench.archive, bench.journal, STUDY, bench.study)
    assert bench.archive.marks[other]["priority"] == "STAT"
    with bench.journal.store.write() as db:
        row = {"request": "r", "study_uid": STUDY, "job": "found", "finding": "k", "version": 1, "verb": "reject"}
        db.execute(tables.review.insert().values(row | {"state": "rejected", "by": "lee", "at": "2026-01-01"}))
        results.prioritise(bench.journal.store, db, STUDY, bench.study, "2026-01-01")
    publish(bench.archive, bench.journal, STUDY, bench.study)
    assert bench.archive.marks[other]["priority"] == "ROUTINE"
    bench.archive.remove(elsewhere)
    assert publish(bench.archive, bench.journal, STUDY, bench.study) is not None


def test_a_process_that_ended_before_it_marked_marks_when_it_runs_again(bench: Bench) -> None:
    bench.add("k", Priority.STAT)
    bench.journal.complete(ResultRecord("k", STUDY, (), (), Verdict(Priority.STAT, "urgent"), ()))
    assert bench.study not in bench.archive.marks
    bench.analyst.run("k")
    assert bench.archive.marks[bench.study]["priority"] == "STAT"


@pytest.mark.parametrize(
    "changes",
    [{"pipeline": "gone"}, {"pipeline_version": "0"}, {"model_sha256": "cd" * 32}, {"model_contract": "ef" * 32}],
)
def test_a_job_made_for_what_was_replaced_ends_and_says_what_to_do(bench: Bench, changes: dict[str, str]) -> None:
    bench.add(generate_uid(), **changes)
    (record,) = bench.journal.jobs()
    bench.analyst.run(record.job.key)
    (record,) = bench.journal.jobs()
    assert record.state is JobState.CANCELED
    assert "no longer" in (record.reason or "")
    assert "POST /ai/jobs" in (record.reason or "")


@pytest.mark.parametrize("said", ["", contract(model())])
def test_a_job_made_for_the_model_as_it_is_runs(bench: Bench, said: str) -> None:
    bench.add("k", model_contract=said)
    bench.analyst.run("k")
    record = bench.journal.job("k")
    assert record is not None and record.state is JobState.COMPLETED


# -- without a model, with priors -------------------------------------------------------------------------------------


def add_rules(bench: Bench, key: str, version: str = "1") -> None:
    stands = rules("rules", version, Modality.OPT)
    bench.add(
        key,
        pipeline="rules",
        model=stands.name,
        model_version=stands.version,
        model_sha256=stands.sha256,
        model_contract=contract(stands),
    )


def test_a_pipeline_without_a_model_asks_for_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.analyst, "_predictor", None)
    add_rules(bench, "k")
    bench.analyst.run("k")
    record = bench.journal.job("k")
    assert record is not None
    assert (record.state, record.execution_provider) == (JobState.COMPLETED, "none")


def test_a_job_made_for_other_rules_ends_as_outdated(bench: Bench) -> None:
    add_rules(bench, "k", version="0")
    bench.analyst.run("k")
    record = bench.journal.job("k")
    assert record is not None and record.state is JobState.CANCELED
    assert "no longer the one" in (record.reason or "")


def compared(bench: Bench, key: str) -> str:
    """A job with a prior in a study of its own; the identifier of that study comes back."""
    prior = volume("1.2.826.0.1.70")
    id = bench.archive.add(prior)
    (study,) = {s.id for s in bench.archive.studies("1.2.826.0.1.70")}
    (kept,) = [i for i in bench.archive.study(study).instances if i.id == id]
    own = next(i for i in bench.archive.study(bench.study).instances if i.id == bench.id)
    made = job(
        key=key,
        study_id=bench.study,
        study_uid=STUDY,
        modality=Modality.OPT,
        sources=(Source(bench.id, own.uid, own.digest), Source(id, kept.uid, kept.digest, study)),
        pipeline="trend",
        parameters={"verdict": "ROUTINE"},
    )
    bench.journal.add(made)
    return study


def test_a_job_over_a_prior_runs_while_the_prior_is_there(bench: Bench) -> None:
    study = compared(bench, "k")
    bench.analyst.run("k")
    record = bench.journal.job("k")
    assert record is not None and record.state is JobState.COMPLETED
    assert len(bench.archive.study(study).instances) == 1, "nothing is stored into the prior's study"
    assert study not in bench.archive.marks


def test_a_job_whose_prior_is_gone_ends_as_such(bench: Bench) -> None:
    bench.archive.delete_study(compared(bench, "k"))
    bench.analyst.run("k")
    record = bench.journal.job("k")
    assert record is not None
    assert (record.state, record.discontinuation) == (JobState.CANCELED, Discontinuation.SOURCE_DELETED)
    assert count(bench) == 1


@pytest.mark.parametrize(("pipeline", "opener"), [("trend", "open_history"), ("whole", "open_visit")])
def test_an_ungradable_job_is_told_of_each_of_its_images_and_of_no_prior(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, pipeline: str, opener: str
) -> None:
    second = volume(STUDY)
    bench.archive.add(second)
    compared(bench, "k")
    record = bench.journal.job("k")
    assert record is not None
    own = next(i for i in bench.archive.study(bench.study).instances if i.uid == second.SOPInstanceUID)
    sources = (*record.job.sources, Source(own.id, own.uid, own.digest))
    bench.journal.add(replace(record.job, key="both", pipeline=pipeline, sources=sources))
    monkeypatch.setattr(opening, opener, lambda *_: Ungradable("not analysed because it is a test"))
    bench.analyst.run("both")
    decided = {d.sources: d for _, d in bench.journal.decisions(STUDY)}
    assert set(decided) == {(str(bench.source.SOPInstanceUID),), (str(second.SOPInstanceUID),)}
    assert {(d.outcome, d.job) for d in decided.values()} == {(Outcome.UNGRADABLE, "both")}
    assert decided[(str(second.SOPInstanceUID),)].series_uid == second.SeriesInstanceUID
