"""Summaries of a visit: a job over the results of all other jobs, made once none of them is under way.

A visit is what one patient's studies of one day hold; cameras and scanners write a study each. The summary goes into
the first of these studies that has an image of the route.
"""

import logging
from collections.abc import Iterable

from airouter.domain.decision import Outcome
from airouter.domain.job import Job, JobState
from airouter.domain.prior import same_patient
from airouter.domain.study import Instance, Modality, Study
from airouter.domain.summary import Report, SourceResult, Sources
from airouter.errors import NotInArchive
from airouter.pipelines import PIPELINES, Extent
from airouter.ports import Archive, JobQueue, Journal, ResultRecord
from airouter.services.priors import others_of_patient
from airouter.services.routing import Router

log = logging.getLogger(__name__)
_ENOUGH = 10_000  # jobs of one study


def sources_of(job: Job, journal: Journal) -> Sources:
    """What the job reads: results of other jobs, oldest job first; one that is gone is left out."""
    found: list[tuple[str, SourceResult]] = []
    for key in job.results:
        record = journal.job(key)
        result = next((r for r in journal.results(record.job.study_uid) if r.job == key), None) if record else None
        if record is not None and result is not None:
            found.append((record.created, _source(record.job, result)))
    return Sources(tuple(source for _, source in sorted(found, key=lambda each: (each[0], each[1].job.key))))


def _source(job: Job, result: ResultRecord) -> SourceResult:
    reports = tuple(Report(e.role, e.sop_class, e.uid, e.series_uid) for e in result.evidence)
    return SourceResult(job, result.findings, reports, result.standing, result.not_analysed)


class Summaries:
    """Makes the jobs of routes to pipelines that read results."""

    def __init__(self, archive: Archive, journal: Journal, queue: JobQueue, router: Router) -> None:
        self._archive = archive
        self._journal = journal
        self._queue = queue
        self._router = router

    def consider(self, key: str) -> None:
        """A job has ended, however: summarise its visit if nothing of it is under way any more.

        Raises what the archive and the journal raise; a second call makes no second job.
        """
        record = self._journal.job(key) if self._router.summarises else None
        if record is not None and not _summary(record.job) and record.job.modality is not Modality.SM:
            self.consider_study(record.job.study_id)

    def consider_study(self, study_id: str) -> None:
        """A study rests: as `consider`, for a visit whose last job ended while an image of it was still waited for."""
        if not self._router.summarises:
            return
        try:
            study = self._archive.study(study_id)
        except NotInArchive:
            return
        if self._under_way(study):  # asked first: mostly it is, and the others need not be read
            return
        visit = self._visit(study)
        if any(self._under_way(other) for other in visit if other is not study):
            return
        results = [key for study in visit for key in self._newest(study)]
        if not results:
            return
        made: set[str] = set()  # names of routes: each summarises the visit once
        for study in visit:
            ours = self._journal.ours([i.uid for i in study.instances])
            for route, images in self._router.summaries(study, ours=ours):
                if route.name in made:
                    continue
                made.add(route.name)
                job = self._router.job(images, route, results)
                if self._journal.add(job):
                    log.info("job %s: %s of %d results", job.key[:12], job.pipeline, len(results))
                self._queue.enqueue(job)  # also a known one: the queue may have failed after the journal took it

    def _visit(self, study: Study) -> list[Study]:
        """The patient's studies of that day, earliest first; the study alone where its day or patient is not known."""
        found = [study]
        mine = _example(study)
        day = mine.first("StudyDate") if mine else None
        if mine is None or not day or not mine.first("PatientID"):
            return found
        for other in others_of_patient(self._archive, study):
            example = _example(other)
            if example is not None and example.first("StudyDate") == day and same_patient(mine, example):
                found.append(other)
        return sorted(found, key=_order)

    def _under_way(self, study: Study) -> bool:
        """Whether a job of the study has not ended, or an image of an eye in it still waits for others."""
        there = {i.uid for i in study.instances}
        if any(
            d.outcome is Outcome.WAITING and d.modality not in (None, Modality.SM) and there.issuperset(d.sources)
            for _, d in self._journal.decisions(study.uid, _ENOUGH)
        ):
            return True
        return any(
            not _summary(each.job)
            for state in (JobState.SCHEDULED, JobState.IN_PROGRESS)
            for each in self._journal.jobs(study.uid, state, _ENOUGH)
        )

    def _newest(self, study: Study) -> Iterable[str]:
        """Keys of the jobs on eyes whose results count: of each pipeline on each image the newest.

        A job over more images than an earlier one stands in its place.
        """
        newest: dict[tuple[str, frozenset[str]], str] = {}
        for result in self._journal.results(study.uid):
            record = self._journal.job(result.job)
            if record is None or _summary(record.job) or record.job.modality is Modality.SM:
                continue
            about = frozenset(s.uid for s in record.job.sources if not s.prior_study_id)
            for pipeline, images in list(newest):
                if pipeline == record.job.pipeline and images <= about:
                    del newest[pipeline, images]
            newest[record.job.pipeline, about] = result.job
        return newest.values()


def _summary(job: Job) -> bool:
    pipeline = PIPELINES.get(job.pipeline)
    return pipeline is not None and pipeline.extent is Extent.RESULTS


def _example(study: Study) -> Instance | None:
    """An image of the eye, which says who and when."""
    return next((i for i in study.instances if i.modality not in (None, Modality.SM)), None)


def _order(study: Study) -> tuple[str, str]:
    example = _example(study)
    return (str(example.first("StudyTime") or "") if example else "", study.uid)
