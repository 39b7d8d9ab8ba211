"""The worklist and the archive: what is on it, what leaves it, what its pictures show."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image
from pydicom import Dataset

from airouter.adapters import tables
from airouter.adapters.database import DatabaseJournal
from airouter.adapters.memory import MemoryArchive
from airouter.adapters.reading import ReadingStore
from airouter.domain.reading import Facts, Rule, Wanted
from airouter.errors import ArchiveUnavailable, NotInArchive
from airouter.imaging.field_thumbnail import field_thumbnail
from airouter.imaging.perimetry import Location
from airouter.ports import SeenStudy
from airouter.services.reading import Readings
from airouter.services.thumbnails import SIDE, Thumbnail, Thumbnails
from phantoms.dicom.parts import NOW
from phantoms.eye_case import photograph, scan
from tests.e2e.samples import stained_slide

WIDE_FIELD_CLASS = "1.2.840.10008.5.1.4.1.1.77.1.5.5"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[DatabaseJournal]:
    made = DatabaseJournal(f"sqlite:///{tmp_path}/j.db", b"key")
    yield made
    made.close()


@pytest.fixture
def lines(journal: DatabaseJournal) -> ReadingStore:
    made = ReadingStore(journal.store)
    made.open(Rule())
    return made


def seen(archive: MemoryArchive, journal: DatabaseJournal, lines: ReadingStore) -> Readings:
    """Every study of the archive as the intake tells of it."""
    readings = Readings(archive, journal, lines)
    for stamp in archive.studies():
        readings.seen(archive.study(stamp.id), set())
    return readings


def facts(lines: ReadingStore) -> list[Facts]:
    return [entry.facts for entry in lines.page(Wanted()).entries]


class Everybody:
    """A user who may see all that is there."""

    def __init__(self, archive: MemoryArchive) -> None:
        self._archive = archive

    def study(self, study_id: str, headers: Mapping[str, str]) -> SeenStudy | None:
        self._archive.study(study_id)
        return SeenStudy(frozenset(), None) if headers.get("authorization") != "nobody" else None


def test_what_the_headers_say_is_on_the_list(journal: DatabaseJournal, lines: ReadingStore) -> None:
    image = photograph("R", NOW, 384, grade=2)
    image.PatientName, image.PatientID, image.PatientBirthDate, image.PatientSex = "Doe^Jane", "P1", "19500203", "F"
    image.AccessionNumber, image.StudyDescription = "A1", "Check  up\n2026"
    archive = MemoryArchive(image)
    seen(archive, journal, lines)
    (found,) = facts(lines)
    assert found == Facts(
        study_uid=image.StudyInstanceUID, study_id=found.study_id, modalities=("OP",), patient_name="Doe^Jane",
        patient_id="P1", birth_date="19500203", sex="F", accession="A1", description="Check up 2026",
        study_date=image.StudyDate, study_time=image.StudyTime, laterality="R", picture=found.picture,
    )  # fmt: skip
    other = photograph("L", NOW, 384, grade=2)
    other.StudyInstanceUID, other.PatientID = image.StudyInstanceUID, image.PatientID
    archive.add(other)
    seen(archive, journal, lines)
    assert facts(lines)[0].laterality == "B"


def test_what_no_model_reads_is_on_the_list_as_well(journal: DatabaseJournal, lines: ReadingStore) -> None:
    wide = photograph("R", NOW, 384, grade=2)
    wide.SOPClassUID = wide.file_meta.MediaStorageSOPClassUID = WIDE_FIELD_CLASS
    other = photograph("R", NOW, 384, grade=2)
    other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    other.StudyInstanceUID, other.SOPInstanceUID = "1.2.3.4", "1.2.3.4.5"
    other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.5"
    seen(MemoryArchive(wide, other), journal, lines)
    (found,) = facts(lines)
    assert (found.study_uid, found.modalities, found.patient_name) == (
        wide.StudyInstanceUID, ("OP",), str(wide.PatientName)
    )  # fmt: skip


def test_what_we_wrote_ourselves_makes_no_study(journal: DatabaseJournal, lines: ReadingStore) -> None:
    archive = MemoryArchive(photograph("R", NOW, 384, grade=2))
    (stamp,) = archive.studies()
    study = archive.study(stamp.id)
    Readings(archive, journal, lines).seen(study, {i.uid for i in study.instances})
    assert facts(lines) == []


def test_a_deleted_study_leaves_the_list_by_event_or_sweep(journal: DatabaseJournal, lines: ReadingStore) -> None:
    one, two = photograph("R", NOW, 384, grade=2), scan("R", NOW, irf_um=180.0)
    two.PatientID = "another"
    archive = MemoryArchive(one, two)
    readings = seen(archive, journal, lines)
    assert len(facts(lines)) == 2
    first, second = (entry.study_id for entry in facts(lines))
    readings.gone(first)
    readings.step()
    assert len(facts(lines)) == 2, "it is there after all"
    archive.delete_study(first)
    readings.gone(first)
    readings.step()
    assert [entry.study_id for entry in facts(lines)] == [second]
    archive.delete_study(second)
    readings.swept({stamp.id for stamp in archive.studies()})
    archive.available = False
    with pytest.raises(ArchiveUnavailable):
        readings.step()
    assert len(facts(lines)) == 1, "what does not answer says nothing"
    archive.available = True
    readings.step()
    assert facts(lines) == []


def test_rows_of_an_earlier_version_get_their_headers(journal: DatabaseJournal, lines: ReadingStore) -> None:
    archive = MemoryArchive(photograph("R", NOW, 384, grade=2))
    readings = seen(archive, journal, lines)
    (before,) = facts(lines)
    with journal.store.write() as db:
        db.execute(sa.update(tables.reading).values(patient_name=None, picture=None))
    readings.step()
    assert facts(lines) == [before]


def jpeg(found: Thumbnail | str | None) -> np.ndarray:
    assert isinstance(found, Thumbnail), found
    return np.asarray(Image.open(io.BytesIO(found.data)))


@pytest.mark.parametrize("kind", ["slide", "photograph", "tomograph"])
def test_a_thumbnail_shows_the_study(journal: DatabaseJournal, lines: ReadingStore, kind: str) -> None:
    made: list[Dataset] = {
        "slide": lambda: stained_slide(512)[1],
        "photograph": lambda: [photograph("R", NOW, 384, grade=2)],
        "tomograph": lambda: [scan("R", NOW, irf_um=180.0)],
    }[kind]()
    archive = MemoryArchive(*made)
    seen(archive, journal, lines)
    thumbnails = Thumbnails(archive, lines, Everybody(archive))
    uid = made[0].StudyInstanceUID
    found = thumbnails.find(uid, {})
    picture = jpeg(found)
    assert 32 <= max(picture.shape[:2]) <= SIDE
    assert picture.std() > 5, "there is something to see"
    archive.available = False
    with pytest.raises(ArchiveUnavailable):
        thumbnails.find(uid, {})
    archive.available = True
    assert thumbnails.find(uid, {}) == found
    assert thumbnails.find(uid, {"authorization": "nobody"}) is None
    assert thumbnails.find("9.9", {}) is None
    (entry,) = facts(lines)
    archive.delete_study(entry.study_id)
    assert thumbnails.find(uid, {}) is None


def test_a_thumbnail_that_cannot_be_made_says_why(journal: DatabaseJournal, lines: ReadingStore) -> None:
    image = photograph("R", NOW, 384, grade=2)
    image.PixelData = image.PixelData[:100]
    archive = MemoryArchive(image)
    seen(archive, journal, lines)
    found = Thumbnails(archive, lines, Everybody(archive)).find(image.StudyInstanceUID, {})
    assert isinstance(found, str)
    assert str(image.PatientName) not in found


def test_the_study_with_another_image_has_another_picture(journal: DatabaseJournal, lines: ReadingStore) -> None:
    archive = MemoryArchive(photograph("R", NOW, 384, grade=2))
    seen(archive, journal, lines)
    (before,) = facts(lines)
    lines.record(replace(before, picture="other"))
    thumbnails = Thumbnails(archive, lines, Everybody(archive))
    first = thumbnails.find(before.study_uid, {})
    lines.record(before)
    second = thumbnails.find(before.study_uid, {})
    assert isinstance(first, Thumbnail)
    assert isinstance(second, Thumbnail)
    assert first.tag != second.tag


def test_a_visual_field_is_dark_where_little_is_seen() -> None:
    points = [
        Location(x, y, seen=not (x > 0 and y > 0), sensitivity=30.0 if not (x > 0 and y > 0) else None)
        for x in (-9.0, -3.0, 3.0, 9.0)
        for y in (-9.0, -3.0, 3.0, 9.0)
    ]
    picture = field_thumbnail(points, 128)[..., 0].astype(float)
    assert picture[40, 90] < 40, "up and to the right nothing was seen"
    assert picture[40, 40] > 200
    assert picture[90, 90] > 200
    assert field_thumbnail([], 16).shape == (16, 16, 3)


def test_the_archives_study_that_nobody_may_see_is_not_there(journal: DatabaseJournal, lines: ReadingStore) -> None:
    archive = MemoryArchive(photograph("R", NOW, 384, grade=2))
    seen(archive, journal, lines)
    (entry,) = facts(lines)

    class Hidden:
        def study(self, study_id: str, headers: Mapping[str, str]) -> SeenStudy | None:
            raise NotInArchive("hidden")

    assert Thumbnails(archive, lines, Hidden()).find(entry.study_uid, {}) is None
