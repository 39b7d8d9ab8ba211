"""How the machine stands with studies on the worklist: still at work, done, or why it has nothing to say."""

from collections.abc import Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from airouter.adapters import tables
from airouter.adapters.rows import decision_of
from airouter.domain.decision import Decision, Outcome
from airouter.domain.job import JobState
from airouter.domain.reading import Analysis

_NOT: Final = "not analysed because "
_MOST: Final = 200  # characters of a reason


def analyses(db: sa.Connection, studies: Mapping[str, int]) -> dict[str, Analysis]:
    """Of each study, given with how many current results it has."""
    j, d = tables.job, tables.decision
    jobs: dict[str, list[tuple[str, str | None]]] = {uid: [] for uid in studies}
    query = sa.select(j.c.study_uid, j.c.state, j.c.reason).where(j.c.study_uid.in_(studies)).order_by(j.c.id)
    for uid, state, reason in db.execute(query):
        jobs[uid].append((state, reason))
    silent = [uid for uid, count in studies.items() if not count and not _active(jobs[uid])]
    decisions: dict[str, list[Decision]] = {uid: [] for uid in silent}
    if silent:
        about = sa.select(d.c.study_uid, d.c.content).where(d.c.study_uid.in_(silent)).order_by(d.c.id)
        for uid, content in db.execute(about):
            decisions[uid].append(decision_of(content))
    return {
        uid: _with_results(jobs[uid]) if count else _without(jobs[uid], decisions.get(uid, ()))
        for uid, count in studies.items()
    }


def _active(jobs: Sequence[tuple[str, str | None]]) -> int:
    return sum(state in (JobState.SCHEDULED, JobState.IN_PROGRESS) for state, _ in jobs)


def _with_results(jobs: Sequence[tuple[str, str | None]]) -> Analysis:
    active = _active(jobs)
    if active:
        return Analysis("running", f"AI: {active} of {len(jobs)} analyses not finished")
    failed = sum(state == JobState.CANCELED for state, _ in jobs)
    return (
        Analysis("failed", f"AI: {failed} of {len(jobs)} analyses ended without a result")
        if failed
        else Analysis("done")
    )


def _without(jobs: Sequence[tuple[str, str | None]], decisions: Sequence[Decision]) -> Analysis:
    active = _active(jobs)
    if active:
        running = any(state == JobState.IN_PROGRESS for state, _ in jobs)
        return Analysis("running" if running else "waiting", f"AI: {'running' if running else 'waiting for its turn'}")
    waiting = next((one for one in decisions if one.outcome is Outcome.WAITING), None)
    if waiting is not None:
        return Analysis("waiting", _short(f"AI: waiting: {waiting.reason}"))
    canceled = next((reason for state, reason in jobs if state == JobState.CANCELED and reason), None)
    if canceled is not None:
        return Analysis("failed", _short(f"AI: {_NOT}{canceled}"))
    skipped = [one.reason for one in decisions if one.outcome is Outcome.SKIPPED]
    telling = next((reason for reason in skipped if reason.startswith(_NOT)), None)
    if telling is not None:
        return Analysis("none", _short(f"AI: {telling}"))
    why = f"no route takes it: {skipped[0]}" if skipped else "nothing has asked for it yet"
    return Analysis("none", _short(f"AI: {_NOT}{why}"))


def _short(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[: _MOST - 1].rstrip()}…"
