"""The embeddings of slides as rows: one for each slide and space, the newest."""

import hashlib
import json
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from airouter.adapters import tables
from airouter.domain.finding import Embedding, Field
from airouter.domain.job import Job
from airouter.ports import StoredEmbedding

_FLOATS: Final = np.dtype("<f4")


def space(job: Job) -> str:
    """SHA-256 of what makes the vectors of two jobs comparable: weights, their contract, and how the pipeline of that
    major version makes vectors of what they answer."""
    pipeline = [job.pipeline, job.pipeline_version.partition(".")[0]]
    return hashlib.sha256(json.dumps([job.model_sha256, job.model_contract, pipeline]).encode()).hexdigest()


def keep(db: sa.Connection, job: Job, embedding: Embedding, now: str) -> None:
    """Write the row in the transaction of `db`, in place of the slide's older one in the same space."""
    t = tables.embedding
    if db.dialect.name == "postgresql":
        # Sequences count outside of transactions: without the lock a reader could see a row and, later, one of a lower
        # id, which it would take for known. SQLite has one writer at a time.
        db.execute(sa.text(f"LOCK TABLE {t.name} IN EXCLUSIVE MODE"))
    db.execute(
        t.delete().where(t.c.study_id == job.study_id, t.c.series_uid == job.series_uid, t.c.space == space(job))
    )
    db.execute(
        t.insert().values(
            job=job.key,
            study_id=job.study_id,
            study_uid=job.study_uid,
            series_uid=job.series_uid,
            space=space(job),
            model=job.model,
            kept=now,
            taken=embedding.taken,
            fields=[
                {"source": f.source, "at": [f.row, f.column, f.rows, f.columns], "share": share}
                for f, share in zip(embedding.fields, embedding.shares, strict=True)
            ],
            vectors=np.vstack([embedding.slide[None], embedding.regions]).astype(_FLOATS).tobytes(),
        )
    )


def read(db: sa.Connection, after: int, limit: int) -> list[StoredEmbedding]:
    """Rows of an id above `after`, lowest first."""
    t = tables.embedding
    query = sa.select(t).where(t.c.id > after).order_by(t.c.id).limit(limit)
    return [_of(row) for row in db.execute(query).mappings()]


def forget(db: sa.Connection, study_id: str) -> None:
    """Delete the rows of a study."""
    db.execute(tables.embedding.delete().where(tables.embedding.c.study_id == study_id))


def _of(row: Any) -> StoredEmbedding:
    fields = row["fields"]
    vectors = np.frombuffer(row["vectors"], _FLOATS).astype(np.float32).reshape(1 + len(fields), -1)
    return StoredEmbedding(
        id=row["id"],
        job=row["job"],
        study_id=row["study_id"],
        study_uid=row["study_uid"],
        series_uid=row["series_uid"],
        space=row["space"],
        model=row["model"],
        kept=row["kept"],
        embedding=Embedding(
            slide=vectors[0],
            regions=vectors[1:],
            fields=tuple(Field(f["source"], *f["at"]) for f in fields),
            shares=tuple(f["share"] for f in fields),
            taken=row["taken"],
        ),
    )
