"""The tables of the journal. Times are ISO 8601 UTC text, so that both databases sort and show them alike."""

from typing import Final

import sqlalchemy as sa

# Goes up with every change of a table that an older router cannot read; `database.migrate` learns the way there.
# 2: the table `rescan`, which an older router would leave behind the results. 3: `chart`, and the column `reading`.
# 4: what readers decide (`review`, `review_object`) and the audit trail (`audit`, `audit_head`).
SCHEMA: Final = 4

metadata: Final = sa.MetaData()

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # only INTEGER PRIMARY KEY counts up by itself in SQLite

schema: Final = sa.Table("router_schema", metadata, sa.Column("version", sa.Integer, primary_key=True))

cursor: Final = sa.Table(
    "change_cursor",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),  # one row, 1
    sa.Column("seq", sa.BigInteger, nullable=False),
)

decision: Final = sa.Table(
    "decision",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("sources", sa.String(64), nullable=False),  # SHA-256, see rows.decision_key
    sa.Column("route", sa.Text, nullable=False),
    sa.Column("study_uid", sa.Text, nullable=False, index=True),
    sa.Column("made", sa.Text, nullable=False, index=True),
    sa.Column("waiting", sa.Text, index=True),  # Series Instance UID of what is still waited for, NULL once decided
    sa.Column("content", sa.JSON, nullable=False),
    sa.UniqueConstraint("sources", "route"),
)

job: Final = sa.Table(
    "job",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("key", sa.String(64), nullable=False, unique=True),
    sa.Column("study_uid", sa.Text, nullable=False, index=True),
    sa.Column("study_id", sa.Text, nullable=False),
    sa.Column("content", sa.JSON, nullable=False),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("created", sa.Text, nullable=False),
    sa.Column("started", sa.Text),
    sa.Column("ended", sa.Text),
    sa.Column("done", sa.BigInteger),
    sa.Column("total", sa.BigInteger),
    sa.Column("unit", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("discontinuation", sa.Text),
    sa.Column("execution_provider", sa.Text),
    sa.Column("requested_by", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
)

result: Final = sa.Table(
    "result",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("job", sa.String(64), sa.ForeignKey("job.key"), nullable=False, unique=True),
    sa.Column("study_uid", sa.Text, nullable=False, index=True),
    sa.Column("findings", sa.JSON, nullable=False),
    sa.Column("not_analysed", sa.JSON, nullable=False),
    sa.Column("priority", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("reading", sa.Text),  # the bucket that the result asks for
)

chart: Final = sa.Table(
    "chart",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("job", sa.String(64), sa.ForeignKey("job.key"), nullable=False, index=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("content", sa.JSON, nullable=False),
)

evidence: Final = sa.Table(
    "evidence",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("uid", sa.String(64), nullable=False, unique=True),
    sa.Column("job", sa.String(64), sa.ForeignKey("job.key"), nullable=False, index=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("sop_class", sa.Text, nullable=False),
    sa.Column("series_uid", sa.Text, nullable=False),
    sa.Column("instance", sa.Text, nullable=False),
)

embedding: Final = sa.Table(
    "embedding",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("job", sa.String(64), sa.ForeignKey("job.key"), nullable=False, unique=True),
    sa.Column("study_id", sa.String(64), nullable=False, index=True),
    sa.Column("study_uid", sa.Text, nullable=False),
    sa.Column("series_uid", sa.Text, nullable=False, index=True),
    sa.Column("space", sa.String(64), nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("kept", sa.Text, nullable=False),
    sa.Column("taken", sa.Text, nullable=False),
    sa.Column("fields", sa.JSON, nullable=False),  # of each region its field and share
    sa.Column("vectors", sa.LargeBinary, nullable=False),  # float32, little-endian: of the slide, then of each region
    sqlite_autoincrement=True,  # an id that was deleted is not given again: readers go on after the last they saw
)

rescan: Final = sa.Table(
    "rescan",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("series_uid", sa.String(64), nullable=False, unique=True),
    sa.Column("study_uid", sa.Text, nullable=False, index=True),
    sa.Column("study_id", sa.Text, nullable=False),
    sa.Column("fit", sa.Boolean, nullable=False),
    sa.Column("fitness", sa.Text, nullable=False),  # what was judged, in words
    sa.Column("usable_percent", sa.Float),
    sa.Column("container", sa.Text),
    sa.Column("scanned", sa.Text),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("rank", sa.Float, nullable=False, index=True),
    sa.Column("opened", sa.Text, nullable=False),
    sa.Column("closed", sa.Text),
    sa.Column("closed_by", sa.Text),
    sa.Column("note", sa.Text),
)

worklist: Final = sa.Table(
    "worklist",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("study_uid", sa.String(64), nullable=False, unique=True),
    sa.Column("study_id", sa.Text, nullable=False),
    sa.Column("priority", sa.Text, nullable=False),
    sa.Column("rank", sa.Integer, nullable=False, index=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("reading", sa.Text),
    sa.Column("updated", sa.Text, nullable=False),
)

settled: Final = sa.Table(
    "settled",
    metadata,
    sa.Column("study_id", sa.String(64), primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
)

review: Final = sa.Table(
    "review",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("request", sa.String(64), nullable=False, index=True),  # of the client: the same one is answered alike
    sa.Column("study_uid", sa.Text, nullable=False, index=True),
    sa.Column("job", sa.String(64), sa.ForeignKey("job.key"), nullable=False, index=True),
    sa.Column("finding", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("verb", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),  # after it; that of the highest version counts
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("comment", sa.Text),
    sa.Column("amendment", sa.JSON),
    sa.UniqueConstraint("job", "finding", "version"),  # of two readers at once one wins
)

review_object: Final = sa.Table(
    "review_object",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("uid", sa.String(64), nullable=False, unique=True),
    sa.Column("series_uid", sa.Text, nullable=False),
    sa.Column("sop_class", sa.Text, nullable=False),
    sa.Column("study_uid", sa.Text, nullable=False, index=True),
    sa.Column("job", sa.String(64), sa.ForeignKey("job.key"), nullable=False, index=True),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("role", sa.Text, nullable=False),  # "verified report", "rejection", "withdrawal", ...
    sa.Column("content", sa.LargeBinary),  # the object until it is in the archive, then NULL
    sa.Column("instance", sa.Text),  # identifier in the archive, NULL until it is there
    sa.Column("made", sa.Text, nullable=False),
)

audit: Final = sa.Table(
    "audit",
    metadata,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False, index=True),
    sa.Column("study_uid", sa.Text, index=True),
    sa.Column("user", sa.Text),
    sa.Column("text", sa.Text, nullable=False),  # what was sealed
    sa.Column("digest", sa.String(64), nullable=False),
)

audit_head: Final = sa.Table(
    "audit_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),  # one row, 1
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
)

# Columns that came later than their table: text, and empty in the rows that stood there.
LATER: Final = (result.c.reading, worklist.c.reading)
