"""A study with one analysed job, reviewed against an archive in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from pydicom.dataset import Dataset

from airouter.adapters.database import DatabaseJournal
from airouter.adapters.memory import MemoryArchive
from airouter.adapters.reviews import DatabaseReviews
from airouter.domain.finding import Result
from airouter.domain.job import Job, Source
from airouter.domain.priority import Ground, Priority, Verdict
from airouter.domain.review import Choice, Verb
from airouter.domain.role import Person, Role
from airouter.errors import ArchiveUnavailable
from airouter.evidence.verified import tracking_uids
from airouter.evidence.write import write
from airouter.ports import ResultRecord, StoredEvidence
from airouter.services.analyse import finding_values
from airouter.services.delivery import Delivery
from airouter.services.review import Reviews
from tests import evidence_samples as samples
from tests.unit.test_evidence_write import CASES

ANNA = Person("anna", frozenset({Role.READER}), "Müller^Anna", "Klinikum Süd")
BERT = Person("bert", frozenset({Role.READER, Role.SUPERVISOR}), "Kurz^Bert")
NOW = datetime(2026, 3, 5, 6, 7, 8, tzinfo=UTC)
REPORT, KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.88.59"


class Flaky(MemoryArchive):
    """Refuses to store the next `failures` objects."""

    failures = 0

    def store(self, evidence: Dataset) -> str:
        if self.failures:
            self.failures -= 1
            raise ArchiveUnavailable("the archive does not answer")
        return super().store(evidence)


@dataclass(frozen=True)
class _Made:
    sources: Mapping[str, Dataset]
    result: Result
    job: Job
    objects: Mapping[str, Dataset]


@lru_cache
def _made(case: str, key: str) -> _Made:
    """A job and what it wrote: the same for every test, as the archive keeps bytes."""
    make, results = CASES[case]
    sources = make()
    archive = MemoryArchive()
    ids = {uid: archive.add(_storable(ds)) for uid, ds in sources.items()}
    (study,) = archive.studies()
    result = results(sources)
    job = replace(
        samples.job(sources, key), study_id=study.id, sources=tuple(Source(ids[uid], uid, "0") for uid in sources)
    )
    written = write(job, samples.model(), result, sources, now=samples.NOW)
    return _Made(sources, result, job, {w.role: w.dataset for w in written})


@dataclass
class ReviewCase:
    """The job's findings are named by `keys`; its first one made the priority HIGH."""

    archive: Flaky
    journal: DatabaseJournal
    store: DatabaseReviews
    delivery: Delivery
    reviews: Reviews
    job: Job
    sources: Mapping[str, Dataset]
    objects: Mapping[str, Dataset]
    requests: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, url: str, case: str = "slide phantom", key: str = "k1", seal: bytes = b"") -> "ReviewCase":
        made = _made(case, key)
        archive = Flaky()
        for ds in made.sources.values():
            archive.add(_storable(ds))
        evidence = tuple(
            StoredEvidence(role, ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID, archive.store(ds))
            for role, ds in made.objects.items()
        )
        job, result = made.job, made.result
        reason = "index above 20 %"
        verdict = Verdict(Priority.HIGH, reason, grounds=(Ground(Priority.HIGH, reason, (result.findings[0].key,)),))
        journal = DatabaseJournal(url, seal)
        if journal.add(job):
            journal.start(job.key, "CPUExecutionProvider")
            journal.complete(
                ResultRecord(
                    job.key, job.study_uid, tuple(finding_values(f) for f in result.findings), evidence, verdict, ()
                )
            )
        store = DatabaseReviews(journal.store)
        delivery = Delivery(archive, journal, store, interval=600)
        reviews = Reviews(archive, journal, store, delivery, now=lambda: NOW)
        return cls(archive, journal, store, delivery, reviews, job, made.sources, made.objects)

    @property
    def study(self) -> str:
        return self.job.study_uid

    @property
    def keys(self) -> list[str]:
        (result,) = self.journal.results(self.study)
        return [str(f["key"]) for f in result.findings]

    def choice(self, finding: int, verb: Verb, version: int = 0, **more: Any) -> Choice:
        more.setdefault("reason", "REJECT-FALSE" if verb is Verb.REJECT else None)
        return Choice(self.job.key, self.keys[finding], version, verb, **more)

    def decide(self, *choices: Choice, person: Person = ANNA, request: str | None = None) -> Any:
        self.requests.append(request or f"request-{len(self.requests)}")
        return self.reviews.decide(self.study, self.requests[-1], choices, person)

    def stored(self, sop_class: str | None = None) -> list[Dataset]:
        """What the archive holds beyond sources and results, in the order in which it came."""
        known = {*self.sources, *(d.SOPInstanceUID for d in self.objects.values())}
        try:
            found = self.archive.study(self.job.study_id).instances
        except Exception:  # noqa: BLE001 - a deleted study holds nothing
            return []
        order = [o.uid for o in self.store.history(self.study).objects]
        mine = sorted((i for i in found if i.uid not in known), key=lambda i: order.index(i.uid))
        return [self.archive.header(i.id) for i in mine if sop_class in (None, i.sop_class)]

    def close(self) -> None:
        self.journal.close()


def _storable(header: Dataset) -> Dataset:
    ds = header.copy()
    if "file_meta" not in vars(ds):
        ds.file_meta = header.file_meta
    return ds


def titles(datasets: Sequence[Dataset]) -> list[str]:
    return [str(ds.ConceptNameCodeSequence[0].CodeValue) for ds in datasets]


def group_uids(report: Dataset) -> set[str]:
    """Tracking UIDs of a report."""
    return tracking_uids(report)
