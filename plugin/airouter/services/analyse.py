"""Running one job: images in, model, findings out, DICOM stored, priority set.

Everything here may be interrupted by a crash and run again: outputs have deterministic UIDs, the archive keeps the
first of equal objects, and the journal's last step is one transaction.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from airouter.domain.decision import Decision, Outcome
from airouter.domain.finding import Finding, Result, Ungradable
from airouter.domain.job import Discontinuation, Job, JobState, ModelReference, Progress
from airouter.domain.model import contract
from airouter.domain.priority import Priority, Verdict
from airouter.domain.study import Modality, Study
from airouter.errors import JobCanceled, JobOutdated, NotInArchive, RouterError
from airouter.evidence.write import Written, write
from airouter.pipelines import PIPELINES, Pipeline, Rules, WithCompanions
from airouter.ports import Archive, Journal, Predictor, ResultRecord, StoredEvidence
from airouter.services.opening import Opener
from airouter.services.rescans import announce
from airouter.services.worklist import publish

log = logging.getLogger(__name__)

# (pipeline, phase, seconds) of a job. Phases: open (headers and levels), analyse (pixels and model), write (building
# DICOM), store (into the archive). Each is told once it has ended well.
Phases = Callable[[str, str, float], None]


class Analyst:
    """Runs jobs by key.

    `predictor` gives the loaded model by name (raises ModelError where it is not usable); `interrupted` says whether a
    running job must stop now, because an operator canceled it or the process ends; `took` is told how long each phase
    of a job was.
    """

    def __init__(
        self,
        archive: Archive,
        journal: Journal,
        predictor: Callable[[str], Predictor],
        *,
        now: Callable[[], datetime],
        interrupted: Callable[[str], bool],
        progress_interval: float = 1.0,
        took: Phases = lambda pipeline, phase, seconds: None,
    ) -> None:
        self._archive = archive
        self._journal = journal
        self._predictor = predictor
        self._now = now
        self._interrupted = interrupted
        self._progress_interval = progress_interval
        self._took = took
        self._completing = threading.Lock()
        self._opener = Opener(archive, journal)

    def run(self, key: str) -> None:
        """Run the job to its end.

        Raises transient errors, for which the queue tries again later, and JobCanceled where it was interrupted.
        """
        record = self._journal.job(key)
        if record is None or record.state in (JobState.COMPLETED, JobState.CANCELED):
            return
        job = record.job
        try:
            self._run(job)
        except JobCanceled:
            raise
        except NotInArchive as error:
            self._journal.cancel(key, Discontinuation.SOURCE_DELETED, str(error))
        except RouterError as error:
            if error.transient:
                raise
            log.warning("job %s failed: %s", key[:12], type(error).__name__)
            self.fail(key, error)
        finally:
            self._opener.release(job)

    def fail(self, key: str, error: RouterError) -> None:
        """End the job as failed, with the reason and what the operator should do."""
        self._journal.cancel(key, Discontinuation.FAILURE, f"{error} ({type(error).__name__}). {error.advice}")

    def _run(self, job: Job) -> None:
        study = self._archive.study(job.study_id)
        self._check_sources(job, study)
        pipeline = PIPELINES.get(job.pipeline)
        if pipeline is None or pipeline.version != job.pipeline_version:
            raise JobOutdated(f"pipeline {job.pipeline} {job.pipeline_version} is no longer installed")
        predictor = self._loaded(job, pipeline)
        self._journal.start(job.key, predictor.provider)
        with self._phase(job, "open"):
            opened = self._opener.open(job, study)
        outcome: Result | Ungradable
        if isinstance(opened.images, Ungradable):
            outcome = opened.images
        else:
            sink = _Sink(self._journal, job, self._interrupted, self._progress_interval)
            with self._phase(job, "analyse"):
                outcome = pipeline.run(job, opened.images, predictor, sink)
        if isinstance(outcome, Ungradable):
            self._ungradable(job, study, outcome)
            return
        self._publish(job, predictor, outcome, opened.headers)

    def _loaded(self, job: Job, pipeline: Pipeline) -> WithCompanions:
        """The job's model and companions. Raises JobOutdated where one is no longer what the job was made for."""
        needs_model = pipeline.head is not None
        main = self._predictor(job.model) if needs_model else Rules(pipeline.rules(job.modality))
        if main.model.sha256 != job.model_sha256 or job.model_contract not in ("", contract(main.model)):
            raise JobOutdated(f"model {job.model} is no longer the one this job was made for")
        companions = {role: self._predictor(each.name) for role, each in job.companions.items()}
        for role, predictor in companions.items():
            wanted, found = job.companions[role], ModelReference.of(predictor.model)
            if (found.sha256, found.contract) != (wanted.sha256, wanted.contract):
                raise JobOutdated(f"model {wanted.name}, its {role}, is no longer the one this job was made for")
        return WithCompanions(main, companions)

    @contextmanager
    def _phase(self, job: Job, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._took(job.pipeline, name, time.perf_counter() - start)

    def _check_sources(self, job: Job, study: Study) -> None:
        studies = {"": study}
        for source in job.sources:
            where = source.prior_study_id
            if where not in studies:
                studies[where] = self._archive.study(where)
            digests = {i.uid: i.digest for i in studies[where].instances}
            if source.uid not in digests:
                raise NotInArchive(f"source instance of job {job.key[:12]} is gone")
            if digests[source.uid] != source.digest:
                # The intake has seen, or will see, the new bytes and makes a new job of them.
                raise NotInArchive(f"source instance of job {job.key[:12]} was replaced")

    def _ungradable(self, job: Job, study: Study, outcome: Ungradable) -> None:
        series = {i.uid: i.series_uid for i in study.instances}
        own = tuple(s.uid for s in job.sources if not s.prior_study_id)
        self._journal.decide(
            [
                Decision(
                    study_uid=job.study_uid,
                    series_uid=series[about[0]],
                    modality=job.modality,
                    sources=about,
                    route=job.route,
                    revision="",
                    outcome=Outcome.UNGRADABLE,
                    reason=outcome.reason,
                    job=job.key,
                )
                # As routing decided: a slide as a whole, images of the eye one by one.
                for about in ([own] if job.modality is Modality.SM else [(uid,) for uid in own])
            ]
        )
        verdict = Verdict(Priority.ROUTINE, f"{job.pipeline}: {outcome.reason}")
        record = ResultRecord(
            job=job.key,
            study_uid=job.study_uid,
            findings=(),
            evidence=(),
            verdict=verdict,
            not_analysed=({"quantity": job.pipeline, "reason": outcome.reason},),
        )
        self._complete(job, record, outcome.reason)

    def _publish(self, job: Job, predictor: WithCompanions, result: Result, sources: Mapping[str, Any]) -> None:
        companions = {role: each.model for role, each in predictor.companions.items()}
        written: tuple[Written, ...] = ()
        if PIPELINES[job.pipeline].evidence:
            with self._phase(job, "write"):
                written = write(job, predictor.model, result, sources, now=self._now(), companions=companions)
        # A store into a deleted study would bring it back as a ghost: check before, verify after.
        self._check_sources(job, self._archive.study(job.study_id))
        stored: list[StoredEvidence] = []
        try:
            with self._phase(job, "store"):
                for each in written:
                    ds = each.dataset
                    instance = self._archive.store(ds)
                    stored.append(
                        StoredEvidence(each.role, ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID, instance)
                    )
            record = ResultRecord(
                job=job.key,
                study_uid=job.study_uid,
                findings=tuple(finding_values(f) for f in result.findings),
                evidence=tuple(stored),
                verdict=result.verdict,
                not_analysed=tuple({"quantity": n.quantity, "reason": n.reason} for n in result.not_analysed),
                embedding=result.embedding,
                fitness=result.fitness,
                charts=result.charts,
            )
            self._check_sources(job, self._archive.study(job.study_id))
            self._complete(job, record)
        except RouterError as error:
            if not error.transient:  # the job ends without a result: half of one must not stay behind
                for evidence in stored:
                    self._archive.remove(evidence.instance)
            raise

    def _complete(self, job: Job, record: ResultRecord, reason: str | None = None) -> None:
        # One job at a time: of two that end together the later must see the earlier one's verdict, or it would mark
        # the study with its own, less urgent one.
        with self._completing:
            earlier = [r.verdict for r in self._journal.results(job.study_uid) if r.job != job.key]
            publish(self._archive, job.study_id, [*earlier, record.verdict])
            if record.fitness is not None:
                announce(self._archive, self._journal, job, record.fitness)
            self._journal.complete(record, reason=reason)


class _Sink:
    """Progress into the journal, not more often than every `interval` seconds; stops the pipeline of a canceled job."""

    def __init__(self, journal: Journal, job: Job, interrupted: Callable[[str], bool], interval: float) -> None:
        self._journal = journal
        self._key = job.key
        self._interrupted = interrupted
        self._interval = interval
        self._next = 0.0

    def __call__(self, done: int, total: int, unit: str) -> None:
        if self._interrupted(self._key):
            raise JobCanceled(f"job {self._key[:12]}")
        now = time.monotonic()
        if now < self._next and done < total:
            return
        self._next = now + self._interval
        self._journal.progress(self._key, Progress(done, total, unit))


def finding_values(finding: Finding) -> dict[str, Any]:
    """A finding as plain JSON values, for the journal and REST: codes with meaning, numbers with UCUM unit."""

    def code(c: Any) -> dict[str, str]:
        return {"value": c.value, "scheme": c.scheme, "meaning": c.meaning}

    return {
        "key": finding.key,
        "label": finding.label,
        "finding": code(finding.finding),
        "site": code(finding.site) if finding.site else None,
        "laterality": finding.laterality.value if finding.laterality else None,
        "method": code(finding.method) if finding.method else None,
        "measurements": [
            {"name": code(m.name), "value": float(m.value), "unit": m.unit.value} for m in finding.measurements
        ],
        "evaluations": [{"name": code(e.name), "value": code(e.value)} for e in finding.evaluations],
        "region": (
            {"graphic": finding.region.graphic, "source": finding.region.source, "frame": finding.region.frame}
            if finding.region
            else None
        ),
        "comment": finding.comment,
        "origins": [
            {"label": o.label, "report": o.uid, "study": o.study_uid, "tracking_uid": o.tracking_uid}
            for o in finding.origins
        ],
    }
