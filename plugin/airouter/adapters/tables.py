"""The tables of the journal. Times are ISO 8601 UTC text, so that both databases sort and show them alike."""

from typing import Final

import sqlalchemy as sa

# Goes up with every change of a table that an older router cannot read; `database.migrate` learns the way there.
# 2: the table `rescan`, which an older router would leave behind the results. 3: `chart`, and the column `reading`.
# 4: what readers decide (`review`, `review_object`), the worklist's rows (`reading`, `reading_head`) and the audit
# trail (`audit`, `audit_head`).
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

# Whose results a summary reads, besides its content, to find the summaries of a result: also in other studies.
job_read: Final = sa.Table(
    "job_read",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("job", sa.String(64), sa.ForeignKey("job.key"), nullable=False),
    sa.Column("read", sa.String(64), nullable=False, index=True),
    sa.UniqueConstraint("job", "read"),
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
    sa.Column("grounds", sa.Text),  # JSON: what the priority rests on; NULL where it rests on all findings
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
    sa.Column("request", sa.String(64), nullable=False, index=True),  # that it was made for
    sa.Column("by", sa.Text, nullable=False),
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
    sa.Column("study_uid", sa.Text),
    sa.Column("patient_id", sa.Text),
    sa.Column("user", sa.Text),
    sa.Column("text", sa.Text, nullable=False),  # what was sealed
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Index("ix_audit_study", "study_uid", "seq"),
)

audit_head: Final = sa.Table(
    "audit_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),  # one row, 1
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
)

audit_key: Final = sa.Table(
    "audit_key",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),  # one row, 1
    sa.Column("fingerprint", sa.String(64), nullable=False),
)

# How far each export of the trail has come.
audit_export: Final = sa.Table(
    "audit_export",
    metadata,
    sa.Column("target", sa.String(200), primary_key=True),  # what it is, and of which node
    sa.Column("seq", sa.BigInteger, nullable=False),
)

# What the worklist shows and is ordered by: one row for each study, so that ten thousand are filtered by indexes.
reading: Final = sa.Table(
    "reading",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("study_uid", sa.String(64), nullable=False, unique=True),
    sa.Column("study_id", sa.Text, nullable=False, index=True),
    # of the images' headers, NULL until they were read
    sa.Column("patient_name", sa.Text),
    sa.Column("patient_id", sa.Text),
    sa.Column("birth_date", sa.Text),
    sa.Column("sex", sa.Text),
    sa.Column("accession", sa.Text),
    sa.Column("description", sa.Text),
    sa.Column("study_date", sa.Text),
    sa.Column("study_time", sa.Text),
    sa.Column("modalities", sa.Text, nullable=False, default=""),  # |OP|OPT|
    sa.Column("laterality", sa.Text),
    sa.Column("picture", sa.Text),  # digest of the image that the thumbnail shows
    # of the machine
    sa.Column("priority", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("findings_line", sa.Text, nullable=False, default=""),
    sa.Column("phase", sa.Text),
    sa.Column("asked", sa.Text),  # bucket that the results ask for
    sa.Column("results", sa.Integer, nullable=False, default=0),
    sa.Column("pending", sa.Integer, nullable=False, default=0),
    sa.Column("decided", sa.Integer, nullable=False, default=0),
    sa.Column("updated", sa.Text, nullable=False),
    # of people
    sa.Column("assigned", sa.Text),
    sa.Column("claimed_by", sa.Text),
    sa.Column("claimed_until", sa.Text, index=True),
    sa.Column("lock_priority", sa.Text),
    sa.Column("lock_reason", sa.Text),
    sa.Column("lock_by", sa.Text),
    sa.Column("lock_at", sa.Text),
    sa.Column("completed_by", sa.Text),
    sa.Column("completed_at", sa.Text),
    sa.Column("seen_result", sa.BigInteger, nullable=False, default=0),  # the last one when it was read
    # what follows from all that
    sa.Column("counted", sa.Text, nullable=False),  # the priority that counts
    sa.Column("arrived", sa.Text, nullable=False),
    sa.Column("due", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),  # open or read
    sa.Column("queue", sa.Text, nullable=False),
    sa.Column("audit_sample", sa.Boolean, nullable=False, default=False),
    sa.Column("search", sa.Text, nullable=False, default=""),
    sa.Index("ix_reading_order", "state", "queue", "due", "arrived", "study_uid"),
    sa.Index("ix_reading_priority", "state", "counted"),
    sa.Index("ix_reading_asked", "asked"),
    sa.Index("ix_reading_all", "state", "due", "arrived", "study_uid"),
)

reading_head: Final = sa.Table(
    "reading_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),  # one row, 1
    sa.Column("revision", sa.BigInteger, nullable=False),  # one more with every change of a row of `reading`
    sa.Column("rule", sa.JSON, nullable=False),  # allowances, share and phase that the rows were made with
)

# Columns that came later than their table: text, and empty in the rows that stood there.
LATER: Final = (result.c.reading, result.c.grounds, worklist.c.reading)
