"""Opening what a job reads. A slide stays open while other jobs wait for it, with what was made of it once."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pydicom.dataset import Dataset

from airouter.domain.finding import Ungradable
from airouter.domain.job import Job, JobState, Source
from airouter.domain.study import ANNOTATIONS, Instance, Modality, Study
from airouter.domain.summary import Sources
from airouter.errors import NotInArchive
from airouter.imaging.annotations import annotated
from airouter.imaging.reader import Images, open_images
from airouter.imaging.slide import Slide
from airouter.imaging.visit import EyeImage, History, Visit, open_history, open_visit
from airouter.pipelines import PIPELINES, Extent
from airouter.ports import Archive, Journal
from airouter.services.summaries import sources_of

_MOST: Final = 4  # slides kept open at a time; each holds tiles and masks

# What the images of a job are: the UID and checksum of each instance.
_Key = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Opened:
    """The images of a job, and the header of every instance of them by its SOP Instance UID."""

    images: Images | Visit[EyeImage] | History[EyeImage] | Sources | Ungradable
    headers: Mapping[str, Dataset] = field(repr=False)


class Opener:
    """Opens images through the archive. Threads may share it."""

    def __init__(self, archive: Archive, journal: Journal) -> None:
        self._archive = archive
        self._journal = journal
        self._lock = threading.Lock()
        self._slides: dict[_Key, Opened] = {}

    def open(self, job: Job, study: Study) -> Opened:
        """What the job reads, its sources being in the archive. Raises PixelDataError, NotInArchive, ArchiveError."""
        extent = PIPELINES[job.pipeline].extent if job.pipeline in PIPELINES else Extent.IMAGE
        if job.modality is Modality.SM or extent is Extent.IMAGE:
            return self._open_images(job, study)
        by_uid = {i.uid: i for i in study.instances}
        own = [self._read(by_uid[s.uid]) for s in job.sources if not s.prior_study_id]
        priors = [self._read(self._prior(s)) for s in job.sources if s.prior_study_id]
        headers = {str(header.SOPInstanceUID): header for _, header in (*own, *priors)}
        if extent is Extent.RESULTS:
            return Opened(sources_of(job, self._journal), headers)
        if extent is Extent.STUDY:
            return Opened(open_visit(job.modality, own, self._archive.frames), headers)
        return Opened(open_history(job.modality, own[0], priors, self._archive.frames), headers)

    def _read(self, instance: Instance) -> tuple[Instance, Dataset]:
        return instance, self._archive.header(instance.id)

    def _prior(self, source: Source) -> Instance:
        found = (i for i in self._archive.study(source.prior_study_id).instances if i.uid == source.uid)
        instance = next(found, None)
        if instance is None:
            raise NotInArchive(f"an earlier image of study {source.prior_study_id} is gone")
        return instance

    def _open_images(self, job: Job, study: Study) -> Opened:
        by_uid = {i.uid: i for i in study.instances}
        sources = [by_uid[s.uid] for s in job.sources]
        drawn = [i for i in sources if i.sop_class == ANNOTATIONS]
        pictures = [i for i in sources if i.sop_class != ANNOTATIONS]
        key = frozenset((i.uid, i.digest) for i in pictures)
        with self._lock:
            found = self._slides.get(key)
        if found is None:
            read = [self._read(instance) for instance in pictures]
            headers = {str(header.SOPInstanceUID): header for _, header in read}
            found = Opened(open_images(job.modality, read, self._archive.frames), headers)
            if isinstance(found.images, Slide):
                found = self._keep(key, found)
        if isinstance(found.images, Slide) and drawn:
            objects = [self._archive.header(instance.id) for instance in drawn]
            return Opened(annotated(found.images, objects), found.headers)
        return found

    def _keep(self, key: _Key, opened: Opened) -> Opened:
        with self._lock:
            while len(self._slides) >= _MOST:
                del self._slides[next(iter(self._slides))]
            return self._slides.setdefault(key, opened)  # another thread may have been first

    def release(self, job: Job) -> None:
        """The job has ended: close its slide, unless another job of the same series waits for it."""
        if job.modality is not Modality.SM:
            return
        for state in (JobState.SCHEDULED, JobState.IN_PROGRESS):
            others = self._journal.jobs(job.study_uid, state)
            if any(other.job.key != job.key and other.job.series_uid == job.series_uid for other in others):
                return
        mine = {(s.uid, s.digest) for s in job.sources}
        with self._lock:
            for key in [key for key in self._slides if key <= mine]:
                del self._slides[key]
