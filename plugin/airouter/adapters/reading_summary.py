"""What is said of the worklist as a whole: each study's place in its queue, and how many there are of what.

It takes a look at every row, and so is worked out once for each revision of the list.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from airouter.adapters import reading_rows, tables
from airouter.adapters.reading_rows import OPEN, READ
from airouter.domain.priority import Priority, Reading
from airouter.domain.reading import AuditShare

_T: Final = tables.reading


@dataclass(frozen=True, slots=True)
class Summary:
    """`positions`: from 1, of each open study in its queue; `waiting`: open ones by queue, `urgent` by priority."""

    revision: int
    positions: Mapping[str, int]
    waiting: Mapping[Reading, int]
    urgent: Mapping[Priority, int]
    read: int
    audit: AuditShare


class Summarised:
    """Keeps the latest summary; threads share it."""

    def __init__(self) -> None:
        self._latest: Summary | None = None

    def of(self, db: sa.Connection) -> Summary:
        """The summary of the list as this transaction sees it."""
        revision, kept = reading_rows.revision(db), self._latest
        if kept is None or kept.revision != revision:
            kept = _summary(db, revision)
            if not db.get_execution_options().get("airouter_write", False):  # what is not committed may never be
                self._latest = kept
        return kept


def _summary(db: sa.Connection, revision: int) -> Summary:
    query = sa.select(_T.c.queue, _T.c.study_uid).where(_T.c.state == OPEN)
    positions: dict[str, int] = {}
    waiting = dict.fromkeys((queue.value for queue in Reading), 0)
    for queue, uid in db.execute(query.order_by(_T.c.queue, _T.c.due, _T.c.arrived, _T.c.study_uid)):
        waiting[queue] += 1
        positions[uid] = waiting[queue]
    by_priority = sa.select(_T.c.counted, sa.func.count()).where(_T.c.state == OPEN).group_by(_T.c.counted)
    urgent = {Priority(priority): count for priority, count in db.execute(by_priority)}
    return Summary(
        revision=revision,
        positions=positions,
        waiting={Reading(queue): count for queue, count in waiting.items()},
        urgent={priority: urgent.get(priority, 0) for priority in Priority},
        read=db.execute(sa.select(sa.func.count()).where(_T.c.state == READ)).scalar_one(),
        audit=_audit(db),
    )


def _audit(db: sa.Connection) -> AuditShare:
    query = sa.select(
        sa.func.count(),
        sa.func.sum(sa.case((_T.c.audit_sample, 1), else_=0)),
        sa.func.sum(sa.case((_T.c.audit_sample & (_T.c.state == READ), 1), else_=0)),
    ).where(_T.c.asked == Reading.REVIEW_AND_RELEASE.value)
    asked, drawn, read = db.execute(query).one()
    return AuditShare(reading_rows.rule(db).audit_share, asked, drawn or 0, read or 0)
