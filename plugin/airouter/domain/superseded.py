"""Which results of a study a newer one stands in the place of."""

from collections.abc import Collection, Sequence

from airouter.domain.job import Job


def superseded(jobs: Sequence[Job], ungradable: Collection[str] = ()) -> frozenset[str]:
    """Keys of those of a study's completed jobs that a later one replaces. `jobs` as they were made, oldest first.

    A later job of the same pipeline and model replaces one that is about no other images: made again with a newer
    version or other parameters, with a prior or an image that arrived late, or a summary made anew. Routes and models
    side by side do not replace each other, and a job that could not analyse its images (`ungradable`, by key) does not
    replace one that could.
    """
    return frozenset(
        old.key
        for n, old in enumerate(jobs)
        if any(
            _replaces(new, old) and (new.key not in ungradable or old.key in ungradable)
            for new in jobs[n + 1 :]
            if new.key != old.key
        )
    )


def _replaces(new: Job, old: Job) -> bool:
    return (
        (new.pipeline, new.model, new.study_uid) == (old.pipeline, old.model, old.study_uid)
        and (new.route == old.route or not new.route or not old.route)
        and _own(new) >= _own(old)
    )


def _own(job: Job) -> frozenset[str]:
    return frozenset(source.uid for source in job.sources if not source.prior_study_id)
