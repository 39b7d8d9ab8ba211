"""Opening what a job reads. A slide stays open while other jobs wait for it, with what was made of it once."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pydicom.dataset import Dataset

from airouter.domain.finding import Ungradable
from airouter.domain.job import Job, JobState
from airouter.domain.study import ANNOTATIONS, Modality, Study
from airouter.imaging.annotations import annotated
from airouter.imaging.reader import Images, open_images
from airouter.imaging.slide import Slide
from airouter.ports import Archive, Journal

_MOST: Final = 4  # slides kept open at a time; each holds tiles and masks

# What the images of a job are: the UID and checksum of each instance.
_Key = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Opened:
    """The images of a job, and the header of every instance of them by its SOP Instance UID."""

    images: Images | Ungradable
    headers: Mapping[str, Dataset] = field(repr=False)


class Opener:
    """Opens images through the archive. Threads may share it."""

    def __init__(self, archive: Archive, journal: Journal) -> None:
        self._archive = archive
        self._journal = journal
        self._lock = threading.Lock()
        self._slides: dict[_Key, Opened] = {}

    def open(self, job: Job, study: Study) -> Opened:
        """What the job reads, its sources being in the study. Raises PixelDataError, NotInArchive, ArchiveError."""
        by_uid = {i.uid: i for i in study.instances}
        sources = [by_uid[s.uid] for s in job.sources]
        drawn = [i for i in sources if i.sop_class == ANNOTATIONS]
        pictures = [i for i in sources if i.sop_class != ANNOTATIONS]
        key = frozenset((i.uid, i.digest) for i in pictures)
        with self._lock:
            found = self._slides.get(key)
        if found is None:
            read = [(instance, self._archive.header(instance.id)) for instance in pictures]
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
