"""Running one job: images in, model, findings out, DICOM stored, priority set.

Everything here may be interrupted by a crash and run again: outputs have deterministic UIDs, the archive keeps the
first of equal objects, and the journal's last step is one transaction. The mark of the priority in the archive goes
before it, because a job whose study cannot be marked fails, and once more after it, when other jobs have ended as well.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import numpy as np

from airouter import __version__
from airouter.domain.decision import Decision, Outcome
from airouter.domain.finding import Finding, Region, Result, Ungradable
from airouter.domain.job import Discontinuation, Job, JobState, ModelReference, Progress
from airouter.domain.model import Model, contract
from airouter.domain.phase import Phase
from airouter.domain.priority import Priority, Verdict
from airouter.domain.study import Modality, Study
from airouter.errors import JobCanceled, JobOutdated, NotInArchive, RouterError
from airouter.evidence.write import Written, write
from airouter.inference.providers import runtime
from airouter.pipelines import PIPELINES, Pipeline, Rules, WithCompanions
from airouter.ports import Archive, Journal, Predictor, Provenance, ResultRecord, StoredEvidence
from airouter.services.opening import Opener
from airouter.services.rescans import announce
from airouter.services.worklist import mark, publish

log = logging.getLogger(__name__)
_POINTS: Final = 400  # of a region that the journal keeps for viewers; the report has them all

# (pipeline, phase, seconds) of a job. Phases: open (headers and levels), analyse (pixels and model), write (building
# DICOM), store (into the archive). Each is told once it has ended well.
Phases = Callable[[str, str, float], None]


class Analyst:
    """Runs jobs by key.

    `predictor` gives the loaded model by name (raises ModelError where it is not usable); `interrupted` says whether a
    running job must stop now, because an operator canceled it or the process ends; `took` is told how long each phase
    of a job was; `phase` is that of the models' introduction.
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
        phase: Phase = Phase.INTEGRATED,
    ) -> None:
        self._archive = archive
        self._journal = journal
        self._predictor = predictor
        self._now = now
        self._interrupted = interrupted
        self._progress_interval = progress_interval
        self._took = took
        self._introduced = phase
        self._completing = threading.Lock()
        self._opener = Opener(archive, journal)

    def run(self, key: str) -> None:
        """Run the job to its end.

        Raises transient errors, for which the queue tries again later, and JobCanceled where it was interrupted.
        """
        record = self._journal.job(key)
        if record is None or record.state is JobState.CANCELED:
            return
        job = record.job
        try:
            if record.state is not JobState.COMPLETED:  # a process may end between the journal and the archive
                self._run(job)
            publish(self._archive, self._journal, job.study_uid, job.study_id)
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
        began = time.monotonic()
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
            self._ungradable(job, study, outcome, self._provenance(job, study, predictor.model, began))
            return
        self._publish(job, predictor, outcome, opened.headers, began)

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

    def _provenance(self, job: Job, study: Study, model: Model, began: float) -> Provenance:
        """Of the run that ends now, with the study as it stands after it."""
        sources = {s.uid for s in job.sources if not s.prior_study_id}
        said = {i.first("PatientID") for i in study.instances if i.uid in sources} - {None, ""}
        return Provenance(
            patient_id=str(said.pop()) if len(said) == 1 else None,
            runtime={"airouter": __version__, **runtime()},
            intended_use=model.intended_use,
            phase=self._introduced,
            digests={i.uid: i.digest for i in study.instances},
            seconds=time.monotonic() - began,
        )

    def _ungradable(self, job: Job, study: Study, outcome: Ungradable, ran: Provenance) -> None:
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
            provenance=ran,
        )
        self._complete(job, record, outcome.reason)

    def _publish(
        self, job: Job, predictor: WithCompanions, result: Result, sources: Mapping[str, Any], began: float
    ) -> None:
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
                findings=tuple(finding_values(f, sources) for f in result.findings),
                evidence=tuple(stored),
                verdict=result.verdict,
                not_analysed=tuple({"quantity": n.quantity, "reason": n.reason} for n in result.not_analysed),
                embedding=result.embedding,
                fitness=result.fitness,
                charts=result.charts,
            )
            study = self._archive.study(job.study_id)
            self._check_sources(job, study)
            record = replace(record, provenance=self._provenance(job, study, predictor.model, began))
            self._complete(job, record)
        except RouterError as error:
            if not error.transient:  # the job ends without a result: half of one must not stay behind
                for evidence in stored:
                    self._archive.remove(evidence.instance)
            raise

    def _complete(self, job: Job, record: ResultRecord, reason: str | None = None) -> None:
        with self._completing:  # one job at a time: of two threads on a study the later sees the earlier one's verdict
            mark(self._archive, job.study_id, self._journal.verdict(job.study_uid, record))
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


def _region_values(region: Region, sources: Mapping[str, Any]) -> dict[str, Any]:
    """Where a viewer jumps to: the box of all points, and of the points no more than are needed to draw it."""
    points = np.asarray(region.points, dtype=np.float64)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return {
        "graphic": region.graphic,
        "source": region.source,
        "series": str(sources[region.source].SeriesInstanceUID) if region.source in sources else None,
        "frame": region.frame,
        "box": [float(v) for v in (left, top, right, bottom)],
        "points": [[round(float(c), 2), round(float(r), 2)] for c, r in points[:: -(-len(points) // _POINTS)]],
    }


def finding_values(finding: Finding, sources: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A finding as plain JSON values, for the journal and REST: codes with meaning, numbers with UCUM unit.

    `sources`: headers by SOP Instance UID, which say the series of a region's image.
    """

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
        "region": _region_values(finding.region, sources or {}) if finding.region else None,
        "comment": finding.comment,
        "origins": [
            {"label": o.label, "report": o.uid, "study": o.study_uid, "tracking_uid": o.tracking_uid}
            for o in finding.origins
        ],
    }
