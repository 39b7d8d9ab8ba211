"""The seams: what the use cases need from the outside world, as Protocols and nothing else."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from airouter.domain.decision import Decision
from airouter.domain.finding import Embedding
from airouter.domain.job import Discontinuation, Job, JobState, Progress
from airouter.domain.model import Model
from airouter.domain.phase import Phase
from airouter.domain.picture import Chart
from airouter.domain.priority import Verdict, standing
from airouter.domain.rescan import Fitness, RescanEntry, RescanState
from airouter.domain.study import Study


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the archive's change log: a new instance in a study. `seq` only grows, also across restarts."""

    seq: int
    study: str


@dataclass(frozen=True, slots=True)
class StudyStamp:
    """A study and a text that changes whenever an instance arrives in it (Orthanc: its LastUpdate)."""

    id: str
    stamp: str


class Archive(Protocol):
    """The PACS. Identifiers are the archive's own; at most eight methods, a ninth needs a decision record.

    Every method raises ArchiveUnavailable (transient) where the archive does not answer.
    """

    def study(self, id: str) -> Study:
        """The study with every instance's routing attributes. Raises NotInArchive."""

    def header(self, instance: str) -> Dataset:
        """Everything but pixel data, with file_meta. Raises NotInArchive."""

    def frames(self, instance: str, numbers: Sequence[int]) -> Iterator[bytes]:
        """Encoded frames as stored, 1-based as in DICOM, in the order asked.

        Raises NotInArchive; PixelDataError where pixel data is truncated or a frame does not exist.
        """

    def store(self, evidence: Dataset) -> str:
        """Store one object; its instance identifier comes back. Storing it again changes nothing.

        Raises EvidenceConflict where other content stands under the same SOP Instance UID.
        """

    def mark(self, study: str, marks: Mapping[str, str]) -> None:
        """Set named marks on a study: metadata, and labels where the archive has labels. An empty value takes a mark
        away. Raises NotInArchive."""

    def changes(self, since: int) -> Iterator[Change]:
        """New instances after sequence number `since`, oldest first."""

    def studies(
        self, uid: str | None = None, *, patient_of: str | None = None, modalities: Collection[str] = ()
    ) -> Iterator[StudyStamp]:
        """All studies, or those with one Study Instance UID; cheap enough to list the whole archive.

        `patient_of`: only the studies of the patient whose study (by identifier) is given, itself among them; none
        where that is not there. What makes two studies one patient's is for the archive to say. With `modalities` only
        those of them with a series that says one of these: a patient's large studies need not be read for small ones.
        """

    def remove(self, instance: str) -> None:
        """Delete one object of ours (never a source). Nothing happens where it is gone already."""


class Predictor(Protocol):
    """One loaded model, shared by threads."""

    @property
    def model(self) -> Model:
        """What the manifest says of it."""

    @property
    def provider(self) -> str:
        """The execution provider that really runs it, e.g. CPUExecutionProvider."""

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Run on images of the model's own size: uint8 [rows, columns, channels] each, RGB or one grey channel.

        Everything the manifest says of layout, colour order, transposition, range and normalisation is done here.
        Segmentation: float32 [n, classes, rows, columns] on the grid of the images, probabilities in 0..1.
        Classification: float32 [n, classes], probabilities. Regression, embedding: float32 [n, values].
        Raises ModelOutputError for NaN, infinity, probabilities outside 0..1 or another shape than the manifest says.
        """


class ProgressSink(Protocol):
    """Told by a pipeline how far it is; raises JobCanceled where the job was canceled meanwhile."""

    def __call__(self, done: int, total: int, unit: str) -> None: ...


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job and how it stands. Times are ISO 8601 UTC; `reason` says why it was canceled, or that it was ungradable."""

    job: Job
    state: JobState
    created: str
    started: str | None = None
    ended: str | None = None
    progress: Progress | None = None
    reason: str | None = None
    discontinuation: Discontinuation | None = None
    execution_provider: str | None = None
    requested_by: str | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class StoredEvidence:
    """One object we wrote: its role, its UIDs and the archive's identifier."""

    role: str
    sop_class: str
    uid: str
    series_uid: str
    instance: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the audit trail keeps of a run beside the job itself. `runtime`: name and version of what ran the models.

    `digests`: checksum of the stored file by SOP Instance UID, of what the run wrote. `seconds`: by a clock that is
    never set, from its start to its end.
    """

    patient_id: str | None
    runtime: Mapping[str, str]
    intended_use: str
    phase: Phase
    digests: Mapping[str, str]
    seconds: float


@dataclass(frozen=True, slots=True)
class ResultRecord:
    """What a job left: findings as plain JSON values, the objects written, the priority and what was not analysed.

    The last two are read back and not written. `superseded`: a newer result stands in its place. `rejected`: keys of
    its findings that a reader rejected, or of which each finding of another job that it repeats was rejected.
    """

    job: str  # job key
    study_uid: str
    findings: tuple[Mapping[str, Any], ...]
    evidence: tuple[StoredEvidence, ...]
    verdict: Verdict
    not_analysed: tuple[Mapping[str, str], ...]
    embedding: Embedding | None = None  # written and not read back: Journal.embeddings gives all of them
    fitness: Fitness | None = None  # nor this: Journal.rescans has it
    charts: tuple[Chart, ...] = ()  # nor these: Journal.charts gives those of one job
    provenance: Provenance | None = None  # nor this: it goes into the audit trail
    superseded: bool = False
    rejected: frozenset[str] = frozenset()

    @property
    def standing(self) -> Verdict:
        """What is left of the verdict after what readers rejected."""
        return standing(self.verdict, self.rejected, [str(finding.get("key")) for finding in self.findings])


@dataclass(frozen=True, slots=True, eq=False)
class StoredEmbedding:
    """The embedding of one slide (a series) as the journal keeps it. `id` only grows; `kept` is an ISO 8601 time, UTC.

    Only vectors of one `space` may be compared: it names the weights, their contract and how the vectors are made.
    """

    id: int
    job: str  # job key
    study_id: str
    study_uid: str
    series_uid: str
    space: str
    model: str  # name
    kept: str
    embedding: Embedding


@dataclass(frozen=True, slots=True)
class WorklistEntry:
    """One study on the worklist."""

    study_uid: str
    study_id: str
    verdict: Verdict
    updated: str


@dataclass(frozen=True, slots=True)
class Imported:
    """A slide that is in the archive now, and how many of its instances were not there before."""

    study_uid: str
    instances: int
    new: int


@dataclass(frozen=True, slots=True)
class SeenStudy:
    """A study as one user may see it: its series, and the archive's identifier of its patient, None if unknown."""

    series_uids: frozenset[str]
    patient: str | None


class Sight(Protocol):
    """What the archive itself lets a user see."""

    def study(self, study_id: str, headers: Mapping[str, str]) -> SeenStudy | None:
        """The study as whoever sent a request with these headers may read it, None where they may not.

        Names of headers are lower case. Raises NotInArchive where the archive says that there is no such study,
        ArchiveUnavailable where it does not answer.
        """


class VectorIndex(Protocol):
    """Vectors of length 1 and of one number of values under integer identifiers; threads may share it."""

    def __len__(self) -> int: ...

    def add(self, ids: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """Add float32 [n, values]; identifiers must be new."""

    def remove(self, ids: Sequence[int]) -> None:
        """Take out; one that is not there is passed over."""

    def vectors(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """float32 [n, values] of these identifiers. Raises KeyError for one that is not there."""

    def ranked(self, vector: NDArray[np.float32]) -> Iterator[tuple[int, float]]:
        """(identifier, cosine similarity) of all, the most similar first.

        What is added or removed meanwhile may be missed.
        """


class SlideImporter(Protocol):
    """Makes DICOM of a slide's file and stores it."""

    def run(self, file: Path, sidecar: Path) -> Imported:
        """Import with what the sidecar says; doing it again changes nothing. Raises RouterError, also of type
        ImportStopped once `stop` was called."""

    def stop(self) -> None:
        """End the import under way. Safe from any thread."""


class Journal(Protocol):
    """Our own durable tables. Every write is one transaction and may be repeated without effect."""

    def cursor(self) -> int:
        """Sequence number of the last change that was handled, 0 at first."""

    def advance(self, seq: int) -> None:
        """Move the cursor; never backwards."""

    def decide(self, decisions: Sequence[Decision]) -> None:
        """Keep decisions; a newer one on the same sources and route replaces the older, any of routing on a series what
        was WAITING there, and one on objects that no route reads (no modality) the one on fewer of the same series."""

    def decisions(self, study_uid: str | None = None, limit: int = 100) -> list[tuple[str, Decision]]:
        """Newest first, each with the time it was made (ISO 8601 UTC)."""

    def add(self, job: Job, requested_by: str | None = None) -> bool:
        """Record a new job as SCHEDULED; False where its key is known already."""

    def job(self, key: str) -> JobRecord | None:
        """One job, None where the key is unknown."""

    def jobs(self, study_uid: str | None = None, state: JobState | None = None, limit: int = 100) -> list[JobRecord]:
        """Newest first."""

    def counts(self) -> dict[JobState, int]:
        """How many jobs are in each state; a state without jobs is left out."""

    def start(self, key: str, execution_provider: str) -> None:
        """IN PROGRESS, one more attempt."""

    def progress(self, key: str, progress: Progress) -> None:
        """How far it is; not kept for ever."""

    def complete(self, result: ResultRecord, reason: str | None = None) -> None:
        """COMPLETED, its result and the study's worklist entry, in one transaction."""

    def cancel(self, key: str, why: Discontinuation, reason: str, by: str | None = None) -> None:
        """CANCELED with its reason, by a user where one did it. A job that ended already stays as it is."""

    def reschedule(self, key: str, requested_by: str | None = None) -> bool:
        """CANCELED back to SCHEDULED, for an operator's explicit new try; False where it is not CANCELED."""

    def results(self, study_uid: str) -> list[ResultRecord]:
        """Every result of a study, oldest first, also those that a newer one stands in the place of."""

    def verdict(self, study_uid: str, coming: ResultRecord | None = None) -> Verdict | None:
        """What the worklist says of a study: the most urgent of its current results, without what readers rejected.

        `coming`: what it will say once this result, of a job that is known, is kept as well.
        """

    def summarised_in(self, study_uid: str) -> list[tuple[str, str]]:
        """Other studies that hold a summary of results of this one: their UID and the archive's identifier."""

    def charts(self, job: str) -> tuple[Chart, ...]:
        """The charts of a job's result, none where it has none or is unknown."""

    def worklist(self, limit: int = 100) -> list[WorklistEntry]:
        """Most urgent first, then oldest first."""

    def rescans(self, state: RescanState | None = RescanState.OPEN, limit: int = 100) -> list[RescanEntry]:
        """Slides that were judged and are in a state (None: any), worst first, then oldest first."""

    def rescans_of(self, study_uid: str) -> list[RescanEntry]:
        """Every slide of a study that was judged, in the order in which they were judged first."""

    def rescan(self, series_uid: str) -> RescanEntry | None:
        """One slide that was judged, None where it never was."""

    def dismiss(self, series_uid: str, reason: str, by: str | None = None) -> RescanEntry | None:
        """Take a slide off the list of those to scan again, for ever: its entry as it stands then.

        One that is not on it stays as it is; None where the slide was never judged.
        """

    def embeddings(self, after: int = 0, limit: int = 500) -> list[StoredEmbedding]:
        """Those of a higher id, lowest first. One that comes later, from whatever node, has a higher id.

        Of a slide in a space only the newest is kept.
        """

    def forget(self, study_id: str) -> None:
        """Remove the embeddings of a study that the archive does not hold any more."""

    def job_of(self, series_uid: str, pipeline: str) -> JobRecord | None:
        """The newest job of a pipeline on a series; takes longer the more jobs there are."""

    def ours(self, uids: Sequence[str]) -> set[str]:
        """Those of the SOP Instance UIDs that we wrote."""

    def settled(self, study_id: str) -> str | None:
        """Stamp of the study when the intake last finished with it, None where it never did."""

    def settle(self, study_id: str, stamp: str) -> None:
        """Remember that the intake has nothing left to do for the study as of this stamp."""


class JobQueue(Protocol):
    """The durable queue: what is enqueued once runs once to its end, across crashes and restarts."""

    def enqueue(self, job: Job) -> None:
        """Add a job under its key; a second time is a no-op."""

    def resume(self, job: Job) -> None:
        """Make sure that a job which the journal holds as not ended has a run before it; called after a start."""

    def cancel(self, key: str) -> None:
        """Take it out, or tell the running one to stop."""

    def retry(self, job: Job) -> None:
        """Run again a job that ended CANCELED."""
