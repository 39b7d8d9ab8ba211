"""The journal in a database (airouter.adapters.store): every write is one transaction."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from airouter.adapters import audit_events, embeddings, rescans, results, tables
from airouter.adapters.audit import append, reserve
from airouter.adapters.rows import decision_content, decision_key, decision_of, job_content, record_of
from airouter.adapters.store import Store, now
from airouter.domain.decision import Decision, Outcome
from airouter.domain.job import Discontinuation, Job, JobState, Progress
from airouter.domain.picture import Chart
from airouter.domain.priority import Verdict
from airouter.domain.rescan import RescanEntry, RescanState
from airouter.errors import JobCanceled, JournalError
from airouter.ports import JobRecord, ResultRecord, StoredEmbedding, WorklistEntry

_ENDED: Final = (JobState.COMPLETED, JobState.CANCELED)


class DatabaseJournal:
    """ports.Journal at an SQLAlchemy URL; threads share it. `store` is for what else keeps tables in that database.

    `seal` and what is raised: as of Store.
    """

    def __init__(self, url: str, seal: bytes = b"") -> None:
        self.store = Store(url, seal)

    def close(self) -> None:
        """Close every connection."""
        self.store.close()

    # -- cursor -------------------------------------------------------------------------------------------------------

    def cursor(self) -> int:
        with self.store.read() as db:
            return db.execute(sa.select(tables.cursor.c.seq)).scalar_one_or_none() or 0

    def advance(self, seq: int) -> None:
        upsert = self.store.insert(tables.cursor).values(id=1, seq=seq)
        with self.store.write() as db:
            db.execute(
                upsert.on_conflict_do_update(
                    index_elements=["id"], set_={"seq": seq}, where=tables.cursor.c.seq < upsert.excluded.seq
                )
            )

    # -- decisions ----------------------------------------------------------------------------------------------------

    def decide(self, decisions: Sequence[Decision]) -> None:
        t = tables.decision
        made = now()
        # What was waited for has more sources now, or none of the routes' names: it does not replace itself.
        # What a job came to says nothing of what is waited for now.
        decided = {d.series_uid for d in decisions if d.outcome not in (Outcome.WAITING, Outcome.UNGRADABLE)}
        with self.store.write() as db:
            db.execute(t.delete().where(t.c.waiting.in_(sorted(decided))))
            new: dict[str, list[Decision]] = {}
            for decision in decisions:
                key, content = decision_key(decision), decision_content(decision)
                same = (t.c.sources == key) & (t.c.route == decision.route)
                standing = db.execute(sa.select(t.c.content).where(same)).scalar_one_or_none()
                if standing == content:
                    continue  # the time is when it was decided so first
                row = {
                    "sources": key,
                    "route": decision.route,
                    "study_uid": decision.study_uid,
                    "made": made,
                    "waiting": decision.series_uid if decision.outcome is Outcome.WAITING else None,
                    "content": content,
                }
                db.execute(
                    self.store.insert(t)
                    .values(row)
                    .on_conflict_do_update(index_elements=["sources", "route"], set_=row)
                )
                if decision.outcome is not Outcome.UNGRADABLE:  # the job's own record tells of those
                    new.setdefault(decision.study_uid, []).append(decision)
            for study_uid, made_new in new.items():
                append(self.store, db, audit_events.routed(study_uid, made_new))

    def decisions(self, study_uid: str | None = None, limit: int = 100) -> list[tuple[str, Decision]]:
        t = tables.decision
        query = sa.select(t.c.made, t.c.content).order_by(t.c.made.desc(), t.c.id.desc()).limit(_limit(limit))
        if study_uid is not None:
            query = query.where(t.c.study_uid == study_uid)
        with self.store.read() as db:
            return [(made, decision_of(content)) for made, content in db.execute(query)]

    # -- jobs ---------------------------------------------------------------------------------------------------------

    def add(self, job: Job, requested_by: str | None = None) -> bool:
        row = {
            "key": job.key,
            "study_uid": job.study_uid,
            "study_id": job.study_id,
            "content": job_content(job),
            "state": JobState.SCHEDULED,
            "created": now(),
            "requested_by": requested_by,
            "attempts": 0,
        }
        added = self.store.insert(tables.job).values(row).on_conflict_do_nothing(index_elements=["key"])
        with self.store.write() as db:
            new = db.execute(added.returning(tables.job.c.id)).first() is not None
            if new and job.results:
                db.execute(tables.job_read.insert(), [{"job": job.key, "read": key} for key in sorted({*job.results})])
            return new

    def job(self, key: str) -> JobRecord | None:
        with self.store.read() as db:
            row = db.execute(sa.select(tables.job).where(tables.job.c.key == key)).mappings().first()
        return record_of(row) if row is not None else None

    def jobs(self, study_uid: str | None = None, state: JobState | None = None, limit: int = 100) -> list[JobRecord]:
        t = tables.job
        query = sa.select(t).order_by(t.c.id.desc()).limit(_limit(limit))
        if study_uid is not None:
            query = query.where(t.c.study_uid == study_uid)
        if state is not None:
            query = query.where(t.c.state == state)
        with self.store.read() as db:
            return [record_of(row) for row in db.execute(query).mappings()]

    def counts(self) -> dict[JobState, int]:
        t = tables.job
        with self.store.read() as db:
            rows = db.execute(sa.select(t.c.state, sa.func.count()).group_by(t.c.state)).all()
        return {JobState(state): count for state, count in rows}

    def start(self, key: str, execution_provider: str) -> None:
        """As the port says. Raises JobCanceled where it was canceled meanwhile; a COMPLETED job stays as it is."""
        t = tables.job
        with self.store.write() as db:
            if self._state(db, key) is JobState.COMPLETED:
                return
            db.execute(
                t.update()
                .where(t.c.key == key)
                .values(
                    state=JobState.IN_PROGRESS,
                    started=now(),
                    execution_provider=execution_provider,
                    attempts=t.c.attempts + 1,
                    done=None,
                    total=None,
                    unit=None,
                )
            )

    def progress(self, key: str, progress: Progress) -> None:
        t = tables.job
        with self.store.write() as db:
            db.execute(
                t.update()
                .where(t.c.key == key, t.c.state == JobState.IN_PROGRESS)
                .values(done=progress.done, total=progress.total, unit=progress.unit)
            )

    def complete(self, result: ResultRecord, reason: str | None = None) -> None:
        """As the port says. Raises JobCanceled where it was canceled meanwhile: nothing is kept of the result then."""
        ended = now()
        with self.store.write() as db:
            if self._state(db, result.job) is JobState.COMPLETED:
                return
            t = tables.job
            done = t.update().where(t.c.key == result.job).values(state=JobState.COMPLETED, ended=ended, reason=reason)
            record = record_of(db.execute(done.returning(t)).mappings().one())
            job = record.job
            results.keep(db, self.store.insert, result)
            if result.embedding is not None:
                embeddings.keep(db, job, result.embedding, ended)
            if result.fitness is not None:
                rescans.keep(db, job, result.fitness, ended)
            reserve(self.store, db)
            results.prioritise(self.store, db, result.study_uid, job.study_id, ended)
            append(self.store, db, audit_events.completed(record, result))

    def cancel(self, key: str, why: Discontinuation, reason: str, by: str | None = None) -> None:
        t = tables.job
        with self.store.write() as db:
            canceled = db.execute(
                t.update()
                .where(t.c.key == key, t.c.state.not_in(_ENDED))
                .values(state=JobState.CANCELED, ended=now(), discontinuation=why, reason=reason)
                .returning(t)
            )
            for row in canceled.mappings().all():
                append(self.store, db, audit_events.ended(record_of(row), by))

    def reschedule(self, key: str, requested_by: str | None = None) -> bool:
        t = tables.job
        blank = dict.fromkeys(("started", "ended", "reason", "discontinuation", "done", "total", "unit"))
        again = t.update().where(t.c.key == key, t.c.state == JobState.CANCELED)
        with self.store.write() as db:
            changes = {"state": JobState.SCHEDULED, "requested_by": requested_by, **blank}
            row = db.execute(again.values(changes).returning(t)).mappings().first()
            if row is not None:
                append(self.store, db, audit_events.again(record_of(row), requested_by))
            return row is not None

    # -- results ------------------------------------------------------------------------------------------------------

    def results(self, study_uid: str) -> list[ResultRecord]:
        with self.store.read() as db:
            return results.of_study(db, study_uid)

    def verdict(self, study_uid: str, coming: ResultRecord | None = None) -> Verdict | None:
        with self.store.read() as db:
            if coming is None:
                return results.on_worklist(db, study_uid)
            return results.standing_of_study(db, study_uid, coming).verdict

    def summarised_in(self, study_uid: str) -> list[tuple[str, str]]:
        with self.store.read() as db:
            return results.summarised_in(db, study_uid)

    def charts(self, job: str) -> tuple[Chart, ...]:
        with self.store.read() as db:
            return results.charts(db, job)

    def worklist(self, limit: int = 100) -> list[WorklistEntry]:
        with self.store.read() as db:
            return results.worklist(db, _limit(limit))

    def ours(self, uids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        with self.store.read() as db:
            for at in range(0, len(uids), 500):  # SQLite binds a limited number of values in one statement
                for written in (tables.evidence.c.uid, tables.review_object.c.uid):
                    some = written.in_(uids[at : at + 500])
                    found.update(db.execute(sa.select(written).where(some)).scalars())
        return found

    # -- slides to scan again -----------------------------------------------------------------------------------------

    def rescans(self, state: RescanState | None = RescanState.OPEN, limit: int = 100) -> list[RescanEntry]:
        with self.store.read() as db:
            return rescans.read(db, state, _limit(limit))

    def rescans_of(self, study_uid: str) -> list[RescanEntry]:
        with self.store.read() as db:
            return rescans.of_study(db, study_uid)

    def rescan(self, series_uid: str) -> RescanEntry | None:
        with self.store.read() as db:
            return rescans.of_series(db, series_uid)

    def dismiss(self, series_uid: str, reason: str, by: str | None = None) -> RescanEntry | None:
        with self.store.write() as db:
            at = now()
            entry = rescans.dismiss(db, series_uid, reason, by, at)
            if entry is not None and entry.closed == at:
                append(self.store, db, audit_events.dismissed(entry, by))
            return entry

    # -- embeddings ---------------------------------------------------------------------------------------------------

    def embeddings(self, after: int = 0, limit: int = 500) -> list[StoredEmbedding]:
        with self.store.read() as db:
            return embeddings.read(db, after, _limit(limit))

    def forget(self, study_id: str) -> None:
        with self.store.write() as db:
            embeddings.forget(db, study_id)

    def job_of(self, series_uid: str, pipeline: str) -> JobRecord | None:
        t = tables.job
        said = t.c.content["series_uid"].as_string() == series_uid, t.c.content["pipeline"].as_string() == pipeline
        with self.store.read() as db:
            row = db.execute(sa.select(t).where(*said).order_by(t.c.id.desc()).limit(1)).mappings().first()
        return record_of(row) if row is not None else None

    # -- what the intake remembers ------------------------------------------------------------------------------------

    def settled(self, study_id: str) -> str | None:
        t = tables.settled
        with self.store.read() as db:
            return db.execute(sa.select(t.c.digest).where(t.c.study_id == study_id)).scalar_one_or_none()

    def settle(self, study_id: str, digest: str) -> None:
        row = {"study_id": study_id, "digest": digest}
        kept = self.store.insert(tables.settled).values(row)
        with self.store.write() as db:
            db.execute(kept.on_conflict_do_update(index_elements=["study_id"], set_=row))

    # -- inside -------------------------------------------------------------------------------------------------------

    def _state(self, db: sa.Connection, key: str) -> JobState:
        """State of a job, its row locked. Raises JobCanceled for CANCELED, JournalError for an unknown key."""
        t = tables.job
        query = sa.select(t.c.state, t.c.reason).where(t.c.key == key).with_for_update()
        row = db.execute(query).first()
        if row is None:
            raise JournalError(f"job {key} is unknown")
        if row.state == JobState.CANCELED:
            raise JobCanceled(f"job {key} was canceled: {row.reason}")
        return JobState(row.state)


def _limit(limit: int) -> int:
    return max(0, limit)  # SQLite takes a negative one for none at all
