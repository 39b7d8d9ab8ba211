"""Keeping the worklist true to the archive: what the headers of a study say, and which studies are still there."""

import hashlib
import logging
import threading
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final, Protocol

from airouter.domain.prior import eye
from airouter.domain.reading import Facts
from airouter.domain.study import REFUSED_SOP_CLASSES, Instance, Modality, Study
from airouter.errors import NotInArchive, RouterError
from airouter.imaging.attributes import attributes
from airouter.ports import Archive, Journal

log = logging.getLogger(__name__)

_ORDER: Final = tuple(Modality)  # a slide stands for a study before a photograph, that before a tomograph or a field
_PAGE: Final = 100
_AGAIN_SECONDS: Final = 60.0


class Lines(Protocol):
    """The list itself; adapters.reading.ReadingStore is one."""

    def record(self, facts: Facts) -> bool: ...

    def without_facts(self, limit: int) -> list[tuple[str, str]]: ...

    def studies(self) -> list[tuple[str, str]]: ...

    def remove(self, study_id: str) -> bool: ...


class Readings:
    """Told by the intake and the archive's events; `run` reads, on a thread of its own, what was never looked at."""

    def __init__(self, archive: Archive, journal: Journal, lines: Lines) -> None:
        self._archive = archive
        self._journal = journal
        self._lines = lines
        self._gone: set[str] = set()
        self._wake = threading.Event()
        self._stop = threading.Event()

    def seen(self, study: Study, ours: Collection[str]) -> None:
        """A study was looked at: it is on the list from now on, whatever the machine will make of it.

        One without any image that our readers read stays off it. `ours`: UIDs of what the router wrote.
        """
        known = self._facts(study, ours)
        if known is not None:
            self._lines.record(known)

    def swept(self, there: Collection[str]) -> None:
        """Identifiers of all studies were read from the archive: what is not among them may be gone."""
        for _, study_id in self._lines.studies():
            if study_id not in there:
                self.gone(study_id)

    def gone(self, study_id: str) -> None:
        """A study may have been deleted. Safe from any thread and cheap."""
        self._gone.add(study_id)
        self._wake.set()

    def stop(self) -> None:
        """Ask the loop to end."""
        self._stop.set()
        self._wake.set()

    def run(self) -> None:
        """Until `stop`: take off what is gone, read the headers of what an earlier version has put on the list."""
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self.step()
            except RouterError as error:
                log.warning("worklist: %s; trying again", error)
            self._wake.wait(_AGAIN_SECONDS)

    def step(self) -> None:
        """One turn of the loop. Raises RouterError where the archive or the database does not answer."""
        while self._gone and not self._stop.is_set():
            study_id = next(iter(self._gone))
            if not self._is_there(study_id):
                self._lines.remove(study_id)
            self._gone.discard(study_id)
        for _, study_id in self._lines.without_facts(_PAGE):
            if self._stop.is_set():
                return
            try:
                study = self._archive.study(study_id)
            except NotInArchive:
                self._lines.remove(study_id)
                continue
            known = self._facts(study, self._journal.ours([i.uid for i in study.instances]))
            self._lines.record(known or Facts(study.uid, study_id, ()))
            self._wake.set()  # there may be more than one page

    def _is_there(self, study_id: str) -> bool:
        try:
            self._archive.study(study_id)
        except NotInArchive:
            return False
        return True

    def _facts(self, study: Study, ours: Collection[str]) -> Facts | None:
        own = Study(study.id, study.uid, tuple(i for i in study.instances if i.uid not in ours))
        read = [i for i in own.instances if i.modality is not None]
        refused = [i for i in own.instances if i.sop_class in REFUSED_SOP_CLASSES]
        if not read and not refused:
            return None
        example = next((i for i in read if i.attributes), None)
        if example is None:  # of what no route reads the archive keeps no header at hand
            first = (read or refused)[0]
            try:
                example = _with_header(self._archive, first)
            except RouterError as error:
                if error.transient:
                    raise
                example = first
        said = {str(i.first("Modality")) for i in refused if i.first("Modality")}
        modalities = {str(i.modality) for i in read} | {m for m in said if m in list(Modality)}
        sides = {side.value for i in read if (side := eye(i)) is not None}
        return Facts(
            study_uid=study.uid,
            study_id=study.id,
            modalities=tuple(sorted(modalities)),
            patient_name=_text(example, "PatientName"),
            patient_id=_text(example, "PatientID"),
            birth_date=_text(example, "PatientBirthDate"),
            sex=_text(example, "PatientSex"),
            accession=_text(example, "AccessionNumber"),
            description=_text(example, "StudyDescription"),
            study_date=_text(example, "StudyDate"),
            study_time=_text(example, "StudyTime"),
            laterality="B" if len(sides) > 1 else next(iter(sides), ""),
            picture=_digest(shown(own)),
        )


def shown(study: Study) -> Sequence[Instance]:
    """The images that stand for a study: the levels of its first slide, else its first photograph, tomograph, field."""
    sets = [images for images in study.image_sets() if any(i.attributes for i in images.instances)]
    first = min(sets, key=lambda s: (_ORDER.index(s.modality), s.series_uid, s.uids), default=None)
    return first.instances if first is not None else ()


def _digest(images: Sequence[Instance]) -> str:
    told = "\n".join(sorted(f"{i.uid} {i.digest}" for i in images))
    return hashlib.sha256(told.encode()).hexdigest()[:16] if images else ""


def _with_header(archive: Archive, instance: Instance) -> Instance:
    return replace(instance, attributes=attributes(archive.header(instance.id)))


def _text(instance: Instance, keyword: str) -> str:
    """One value of a header, on one line and of bounded length."""
    value = " ".join(str(instance.first(keyword) or "").split())
    return "".join(c for c in value if c.isprintable())[:256]
