"""What every Archive must do, asked of the twin in memory and of a real Orthanc: plain, over REST alone, compressed."""

import io
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

from airouter.adapters.memory import MemoryArchive
from airouter.adapters.orthanc import METADATA, OrthancArchive
from airouter.adapters.rest import Rest, connect
from airouter.domain.study import ANNOTATIONS, Modality
from airouter.errors import ArchiveError, ArchiveUnavailable, EvidenceConflict, NotInArchive, PixelDataError
from airouter.ports import Archive
from phantoms.dicom import slide_instances
from tests.orthanc_process import PASSWORD, USER, OrthancProcess, free_port
from tests.unit.test_imaging_annotations import drawn

OPT = "1.2.840.10008.5.1.4.1.1.77.1.5.4"
COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
NOWHERE = "00000000-00000000-00000000-00000000-00000000"


def volume(study: str, *, frames: int = 4, encapsulated: bool = True, series: str | None = None) -> Dataset:
    """An OPT whose frame n holds bytes (n % 251): what comes back says where it came from."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit if encapsulated else ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = OPT, generate_uid()
    ds.PatientID, ds.PatientName = "P1", "Nobody"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series or generate_uid()
    ds.Modality, ds.ImageLaterality = "OPT", "R"
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.NumberOfFrames = 8, 16, 1, frames
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.PhotometricInterpretation = "MONOCHROME2"
    pixels = [np.full(128, n % 251, np.uint8).tobytes() for n in range(1, frames + 1)]
    if encapsulated:
        ds.PixelData = encapsulate([b"\xff\xd8" + p + b"\xff\xd9" for p in pixels])
    else:
        ds.PixelData = b"".join(pixels)
    ds["PixelData"].VR = "OB"
    return ds


def frame(number: int, encapsulated: bool = True) -> bytes:
    pixels = bytes([number % 251]) * 128
    return b"\xff\xd8" + pixels + b"\xff\xd9" if encapsulated else pixels


def report(study: str, *, uid: str | None = None, series: str = "1.2.826.0.1.9", time: str = "120000") -> Dataset:
    """Evidence of ours, just enough of it to be stored."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = COMPREHENSIVE_3D_SR, uid or generate_uid()
    ds.PatientID, ds.StudyInstanceUID, ds.SeriesInstanceUID = "P1", study, series
    ds.Modality, ds.Manufacturer, ds.ContentTime = "SR", "Orthanc AI Router", time
    return ds


def part10(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


@dataclass
class Subject:
    """An archive under test, and the hands of others on it."""

    archive: Archive
    arrive: Callable[[Dataset], str]  # instance identifier comes back
    delete_study: Callable[[str], None]
    marks: Callable[[str], dict[str, str]]

    def study_of(self, ds: Dataset) -> str:
        (found,) = (s.id for s in self.archive.studies(ds.StudyInstanceUID))
        return found


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancProcess]:
    with OrthancProcess(tmp_path_factory.mktemp("plain")) as process:
        yield process


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancProcess]:
    config = {"StorageCompression": True, "OverwriteInstances": True, "StoreMD5ForAttachments": False}
    with OrthancProcess(tmp_path_factory.mktemp("compressed"), config) as process:
        yield process
        process.kill()  # a clean stop takes seconds, and `plain` has one


def on(process: OrthancProcess, storage: Path | None) -> Subject:
    def marks(study: str) -> dict[str, str]:
        found = {n: process.rest.get(f"/studies/{study}/metadata/{number}") for n, number in METADATA.items()}
        return {name: answer.text for name, answer in found.items() if answer.status_code == 200}

    return Subject(
        OrthancArchive(connect(process.url, username=USER, password=PASSWORD), storage),
        lambda ds: str(process.upload(part10(ds))["ID"]),
        lambda id: process.rest.delete(f"/studies/{id}").raise_for_status() and None,
        marks,
    )


@pytest.fixture(
    params=[
        "memory",
        pytest.param("orthanc", marks=pytest.mark.orthanc),
        pytest.param("orthanc-rest", marks=pytest.mark.orthanc),
        pytest.param("orthanc-compressed", marks=pytest.mark.orthanc),
    ]
)
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "memory":
        memory = MemoryArchive()
        yield Subject(memory, memory.add, memory.delete_study, lambda study: memory.marks.get(study, {}))
        return
    process: OrthancProcess = request.getfixturevalue("compressed" if "compressed" in request.param else "plain")
    made = on(process, None if request.param == "orthanc-rest" else process.storage)
    yield made
    assert isinstance(made.archive, OrthancArchive)
    made.archive.close()


@pytest.fixture
def uid() -> str:
    return str(generate_uid())


# -- study and header -------------------------------------------------------------------------------------------------


def test_study_holds_every_instance_with_its_attributes(subject: Subject, uid: str) -> None:
    one, two = volume(uid), volume(uid, encapsulated=False)
    ids = {subject.arrive(one): one, subject.arrive(two): two}
    study = subject.archive.study(subject.study_of(one))
    assert study.uid == uid
    assert {i.id for i in study.instances} == set(ids)
    for instance in study.instances:
        ds = ids[instance.id]
        assert (instance.uid, instance.sop_class) == (ds.SOPInstanceUID, OPT)
        assert (instance.series_uid, instance.study_uid) == (ds.SeriesInstanceUID, uid)
        assert instance.modality is Modality.OPT
        assert instance.first("ImageLaterality") == "R"
        assert instance.first("NumberOfFrames") == 4
        assert len(instance.digest) >= 32
    assert len({i.digest for i in study.instances}) == 2
    assert subject.archive.study(study.id) == study


def test_study_knows_results_too_but_routes_none_of_them(subject: Subject, uid: str) -> None:
    subject.arrive(volume(uid))
    evidence = report(uid)
    id = subject.archive.store(evidence)
    study = subject.archive.study(subject.study_of(evidence))
    (ours,) = [i for i in study.instances if i.uid == evidence.SOPInstanceUID]
    assert (ours.id, ours.modality) == (id, None)
    assert ours.first("Manufacturer") == "Orthanc AI Router"
    assert len(list(study.image_sets())) == 1


def test_a_study_knows_on_which_slide_something_was_drawn(subject: Subject, uid: str) -> None:
    (slide,) = slide_instances(np.full((64, 64, 3), 200, np.uint8), 0.5, levels=1, study_uid=uid)
    subject.arrive(slide)
    subject.arrive(drawn(slide, [[[1.0, 2.0], [30.0, 40.0]]]))
    (images,) = subject.archive.study(subject.study_of(slide)).image_sets()
    assert [i.sop_class for i in images.annotations] == [ANNOTATIONS]
    header = subject.archive.header(images.annotations[0].id)
    assert len(header.AnnotationGroupSequence) == 1


def test_unknown_study_is_not_in_archive(subject: Subject) -> None:
    with pytest.raises(NotInArchive):
        subject.archive.study(NOWHERE)


def test_a_deleted_study_is_gone(subject: Subject, uid: str) -> None:
    ds = volume(uid)
    instance = subject.arrive(ds)
    id = subject.study_of(ds)
    subject.archive.study(id)
    subject.delete_study(id)
    with pytest.raises(NotInArchive):
        subject.archive.study(id)
    with pytest.raises(NotInArchive):
        subject.archive.header(instance)
    assert list(subject.archive.studies(uid)) == []


def test_header_is_everything_but_pixel_data(subject: Subject, uid: str) -> None:
    ds = volume(uid, frames=700)
    header = subject.archive.header(subject.arrive(ds))
    assert header.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    assert "PixelData" not in header
    for element in ds:
        if element.keyword != "PixelData":
            assert header[element.tag].value == element.value, element.keyword


def test_header_of_an_unknown_instance(subject: Subject) -> None:
    with pytest.raises(NotInArchive):
        subject.archive.header(NOWHERE)


# -- frames -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encapsulated", [True, False])
def test_frames_come_as_stored_in_the_order_asked(subject: Subject, uid: str, encapsulated: bool) -> None:
    id = subject.arrive(volume(uid, frames=300, encapsulated=encapsulated))
    numbers = [300, 1, 2, 1, 255]
    assert list(subject.archive.frames(id, numbers)) == [frame(n, encapsulated) for n in numbers]
    assert list(subject.archive.frames(id, [])) == []


@pytest.mark.parametrize("number", [0, -1, 5, 1000])
def test_a_frame_that_does_not_exist(subject: Subject, uid: str, number: int) -> None:
    id = subject.arrive(volume(uid))
    with pytest.raises(PixelDataError):
        list(subject.archive.frames(id, [1, number]))


def test_frames_of_an_unknown_instance(subject: Subject) -> None:
    with pytest.raises(NotInArchive):
        list(subject.archive.frames(NOWHERE, [1]))


def test_frames_are_read_by_many_threads_at_once(subject: Subject, uid: str) -> None:
    id = subject.arrive(volume(uid, frames=40))
    wrong: list[int] = []

    def read(start: int) -> None:
        numbers = [(start + k * 7) % 40 + 1 for k in range(40)]
        wrong.extend(n for n, got in zip(numbers, subject.archive.frames(id, numbers), strict=True) if got != frame(n))

    threads = [threading.Thread(target=read, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# -- store and remove -------------------------------------------------------------------------------------------------


def test_evidence_larger_than_one_piece_arrives_whole(subject: Subject, uid: str) -> None:
    evidence = report(uid)
    evidence.EncapsulatedDocument = bytes(range(256)) * 13_001  # several MiB, in many pieces
    group = Dataset()
    group.PointCoordinatesData = bytes(range(256)) * 9_001
    evidence.AnnotationGroupSequence = [group]
    header = subject.archive.header(subject.archive.store(evidence))
    assert header.EncapsulatedDocument == evidence.EncapsulatedDocument
    assert header.AnnotationGroupSequence[0].PointCoordinatesData == group.PointCoordinatesData


def test_storing_again_changes_nothing(subject: Subject, uid: str) -> None:
    first = report(uid)
    id = subject.archive.store(first)
    digest = subject.archive.study(subject.study_of(first)).instances[0].digest
    # A run after a crash writes the same object at another time.
    assert subject.archive.store(report(uid, uid=first.SOPInstanceUID, time="130000")) == id
    study = subject.archive.study(subject.study_of(first))
    assert [i.digest for i in study.instances] == [digest]
    assert subject.archive.header(id).ContentTime == "120000"


@pytest.mark.parametrize("keyword", ["Manufacturer", "SeriesInstanceUID", "SOPClassUID"])
def test_another_object_under_our_uid_is_a_conflict(subject: Subject, uid: str, keyword: str) -> None:
    foreign = report(uid)
    value = {"Manufacturer": "Someone", "SeriesInstanceUID": generate_uid(), "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}
    setattr(foreign, keyword, value[keyword])
    id = subject.arrive(foreign)
    with pytest.raises(EvidenceConflict):
        subject.archive.store(report(uid, uid=foreign.SOPInstanceUID))
    assert subject.archive.header(id).get(keyword) == value[keyword]


def test_stored_evidence_can_be_read_and_removed(subject: Subject, uid: str) -> None:
    subject.arrive(volume(uid))
    evidence = report(uid)
    id = subject.archive.store(evidence)
    assert subject.archive.header(id).SOPInstanceUID == evidence.SOPInstanceUID
    subject.archive.remove(id)
    subject.archive.remove(id)
    with pytest.raises(NotInArchive):
        subject.archive.header(id)
    assert len(subject.archive.study(subject.study_of(evidence)).instances) == 1


# -- marks ------------------------------------------------------------------------------------------------------------


def test_marks_are_set_and_replaced(subject: Subject, uid: str) -> None:
    ds = volume(uid)
    subject.arrive(ds)
    id = subject.study_of(ds)
    subject.archive.mark(id, {"priority": "HIGH", "reason": "Thickness 412 µm"})
    assert subject.marks(id) == {"priority": "HIGH", "reason": "Thickness 412 µm"}
    subject.archive.mark(id, {"priority": "STAT", "reading": "Full reading"})
    subject.archive.mark(id, {"priority": "STAT"})
    assert subject.marks(id) == {"priority": "STAT", "reason": "Thickness 412 µm", "reading": "Full reading"}
    subject.archive.mark(id, {"reading": ""})
    assert subject.marks(id) == {"priority": "STAT", "reason": "Thickness 412 µm"}


def test_marks_on_an_unknown_study(subject: Subject) -> None:
    with pytest.raises(NotInArchive):
        subject.archive.mark(NOWHERE, {"priority": "STAT"})


# -- changes and studies ----------------------------------------------------------------------------------------------


def test_changes_name_the_study_of_each_new_instance_in_order(subject: Subject, uid: str) -> None:
    start = max((c.seq for c in subject.archive.changes(0)), default=0)
    series = generate_uid()
    uids = [uid, uid, str(generate_uid())]
    for study in uids:
        subject.arrive(volume(study, series=series if study == uid else None))
    seen = list(subject.archive.changes(start))
    by_uid = {u: next(s.id for s in subject.archive.studies(u)) for u in uids}
    assert [c.study for c in seen] == [by_uid[u] for u in uids]
    assert [c.seq for c in seen] == sorted({c.seq for c in seen})
    assert list(subject.archive.changes(seen[0].seq)) == seen[1:]
    assert list(subject.archive.changes(seen[-1].seq)) == []


def test_changes_leave_out_what_was_deleted(subject: Subject, uid: str) -> None:
    start = max((c.seq for c in subject.archive.changes(0)), default=0)
    gone, kept = volume(uid), volume(str(generate_uid()))
    subject.arrive(gone)
    subject.arrive(kept)
    subject.delete_study(subject.study_of(gone))
    assert [c.study for c in subject.archive.changes(start)] == [subject.study_of(kept)]


def test_studies_lists_all_or_one(subject: Subject, uid: str) -> None:
    one, two = volume(uid), volume(str(generate_uid()))
    subject.arrive(one)
    subject.arrive(two)
    everything = [s.id for s in subject.archive.studies()]
    assert len(everything) == len(set(everything))
    assert {subject.study_of(one), subject.study_of(two)} <= set(everything)
    assert list(subject.archive.studies(str(generate_uid()))) == []


def test_studies_of_one_patient(subject: Subject, uid: str) -> None:
    patient, made = f"patient {uid[-12:]}", []
    for id in (patient, patient, f"{patient}0"):
        ds = volume(str(generate_uid()))
        ds.PatientID = id
        subject.arrive(ds)
        made.append(ds)
    one, two, other = (subject.study_of(ds) for ds in made)
    assert {s.id for s in subject.archive.studies(patient_of=one)} == {one, two}
    assert {s.id for s in subject.archive.studies(patient_of=other)} == {other}
    stamps = {s.id: s.stamp for s in subject.archive.studies()}
    assert all(stamps[s.id] == s.stamp for s in subject.archive.studies(patient_of=one))
    named = list(subject.archive.studies(made[1].StudyInstanceUID, patient_of=one))
    assert [s.id for s in named] == [two]
    assert list(subject.archive.studies(made[2].StudyInstanceUID, patient_of=one)) == []
    assert list(subject.archive.studies(patient_of=NOWHERE)) == []
    assert {s.id for s in subject.archive.studies(patient_of=one, modalities={"OP", str(made[0].Modality)})} == {
        one,
        two,
    }
    assert list(subject.archive.studies(patient_of=one, modalities={"CT"})) == []
    subject.delete_study(two)
    assert [s.id for s in subject.archive.studies(patient_of=one)] == [one]
    assert list(subject.archive.studies(patient_of=two)) == []


def test_the_stamp_of_a_study_changes_with_a_new_series(subject: Subject, uid: str) -> None:
    subject.arrive(volume(uid))
    (before,) = subject.archive.studies(uid)
    assert list(subject.archive.studies(uid)) == [before]
    assert before in list(subject.archive.studies())
    subject.arrive(volume(uid))
    (after,) = subject.archive.studies(uid)
    assert after.id == before.id
    assert after.stamp != before.stamp


# -- Orthanc alone ----------------------------------------------------------------------------------------------------


@pytest.mark.orthanc
def test_an_overwritten_instance_is_read_anew(tmp_path: Path, uid: str) -> None:
    """Same SOP Instance UID, other bytes: another digest, and never frames of the old file."""
    with OrthancProcess(tmp_path, {"OverwriteInstances": True}) as process:
        subject = on(process, process.storage)
        ds = volume(uid)
        id = subject.arrive(ds)
        study = subject.study_of(ds)
        before = subject.archive.study(study).instances[0]
        assert list(subject.archive.frames(id, [1])) == [frame(1)]
        ds.ImageLaterality, ds.NumberOfFrames = "L", 2
        ds.PixelData = encapsulate([frame(7), frame(8)])
        assert subject.arrive(ds) == id
        after = subject.archive.study(study).instances[0]
        assert before.digest != after.digest
        assert (before.first("ImageLaterality"), after.first("ImageLaterality")) == ("R", "L")
        assert list(subject.archive.frames(id, [1, 2])) == [frame(7), frame(8)]
        process.kill()


@pytest.mark.orthanc
def test_files_are_read_where_they_lie(plain: OrthancProcess, uid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = on(plain, plain.storage)
    id = subject.arrive(volume(uid))
    asked: list[str] = []
    send = Rest.send

    def spy(self: Rest, method: str, path: str, **options: Any) -> Any:
        asked.append(path)
        return send(self, method, path, **options)

    monkeypatch.setattr(Rest, "send", spy)
    for _ in range(3):
        assert list(subject.archive.frames(id, [1, 2])) == [frame(1), frame(2)]
    assert asked == [f"/instances/{id}/attachments/dicom/info"]


@pytest.mark.orthanc
def test_a_second_look_at_a_study_reads_no_file(plain: OrthancProcess, uid: str, monkeypatch: Any) -> None:
    subject = on(plain, plain.storage)
    ds = volume(uid)
    subject.arrive(ds)
    id = subject.study_of(ds)
    first = subject.archive.study(id)
    monkeypatch.setattr(OrthancArchive, "_read", None)
    assert subject.archive.study(id) == first


@pytest.mark.orthanc
def test_open_files_are_closed_again(plain: OrthancProcess, uid: str) -> None:
    subject = on(plain, plain.storage)
    ids = [subject.arrive(volume(uid)) for _ in range(45)]
    descriptors = Path("/proc/self/fd")
    before = len(os.listdir(descriptors))  # noqa: PTH208
    for id in ids:
        list(subject.archive.frames(id, [1]))
    assert len(os.listdir(descriptors)) - before <= 34  # noqa: PTH208  # 32 files and a connection


def test_nobody_answers() -> None:
    archive = OrthancArchive(connect(f"http://127.0.0.1:{free_port()}"))
    for call in (
        lambda: archive.study("x"),
        lambda: archive.header("x"),
        lambda: list(archive.frames("x", [1])),
        lambda: archive.store(report("1.2.3")),
        lambda: archive.mark("x", {"priority": "LOW"}),
        lambda: list(archive.changes(0)),
        lambda: list(archive.studies()),
        lambda: archive.remove("x"),
    ):
        with pytest.raises(ArchiveUnavailable):
            call()


def test_the_twin_can_be_switched_off(uid: str) -> None:
    memory = MemoryArchive(volume(uid))
    memory.available = False
    with pytest.raises(ArchiveUnavailable):
        list(memory.studies())


@pytest.mark.orthanc
def test_wrong_credentials_are_no_passing_trouble(plain: OrthancProcess) -> None:
    archive = OrthancArchive(connect(plain.url, username=USER, password="wrong"))
    with pytest.raises(ArchiveError) as caught:
        archive.study(NOWHERE)
    assert not caught.value.transient


@pytest.mark.orthanc
def test_a_restart_loses_no_change(tmp_path: Path, uid: str) -> None:
    """Killed without a word, with its change log emptied before: the numbers go on, and nothing comes twice."""
    with OrthancProcess(tmp_path) as process:
        subject = on(process, process.storage)
        subject.arrive(volume(uid))
        seen = [c.seq for c in subject.archive.changes(0)]
        process.rest.delete("/changes").raise_for_status()
        process.kill()
        with pytest.raises(ArchiveUnavailable):
            list(subject.archive.changes(0))
        process.start()
        subject.arrive(volume(uid))
        later = [c.seq for c in subject.archive.changes(seen[-1])]
        assert len(later) == 1
        assert later[0] > seen[-1]
        process.kill()


@pytest.mark.orthanc
def test_revisions_are_respected_when_marking(tmp_path: Path, uid: str) -> None:
    """With CheckRevisions an overwrite without the entity tag is refused."""
    with OrthancProcess(tmp_path, {"CheckRevisions": True}) as process:
        subject = on(process, process.storage)
        ds = volume(uid)
        subject.arrive(ds)
        for value in ("LOW", "HIGH", "STAT"):
            subject.archive.mark(subject.study_of(ds), {"priority": value})
        assert subject.marks(subject.study_of(ds)) == {"priority": "STAT"}
        process.kill()


@pytest.mark.orthanc
def test_a_study_has_one_label_of_ours_and_keeps_those_of_others(plain: OrthancProcess, uid: str) -> None:
    if not plain.rest.get("/system").json().get("HasLabels"):
        pytest.skip("this Orthanc has no labels (1.12.0 and later have)")
    subject = on(plain, plain.storage)
    ds = volume(uid)
    subject.arrive(ds)
    labels = f"/studies/{subject.study_of(ds)}/labels"
    plain.rest.put(f"{labels}/teaching", content=b"").raise_for_status()
    for priority in ("HIGH", "STAT", "STAT"):
        subject.archive.mark(subject.study_of(ds), {"priority": priority})
        assert set(plain.rest.get(labels).json()) == {"teaching", f"ai-{priority.lower()}"}
    subject.archive.mark(subject.study_of(ds), {"reason": "none of these changes a label"})
    assert set(plain.rest.get(labels).json()) == {"teaching", "ai-stat"}


def test_a_file_that_cannot_be_parsed_hides_no_other_of_its_study(plain: OrthancProcess, uid: str) -> None:
    """Orthanc takes a data set without preamble and file meta information; nothing that follows Part 10 reads it."""
    sound, bare = volume(uid), volume(uid, encapsulated=False)
    buffer = io.BytesIO()
    del bare.file_meta
    pydicom.dcmwrite(buffer, bare, implicit_vr=True, little_endian=True)
    id = plain.upload(part10(sound))["ID"]
    unreadable = plain.upload(buffer.getvalue())
    assert unreadable["Status"] == "Success"
    archive = OrthancArchive(connect(plain.url, username=USER, password=PASSWORD), plain.storage)
    study = archive.study(unreadable["ParentStudy"])
    assert {i.uid for i in study.instances} == {sound.SOPInstanceUID, bare.SOPInstanceUID}
    for instance in study.instances:
        assert (instance.sop_class, instance.study_uid) == (OPT, uid)
        assert bool(instance.attributes) == (instance.id == id)
        assert instance.series_uid == (sound if instance.id == id else bare).SeriesInstanceUID
    archive.close()


def test_of_what_is_no_source_only_what_routing_asks_is_kept(plain: OrthancProcess, uid: str) -> None:
    """A study of thousands of CT slices must not fill Orthanc's memory with headers nobody looks at."""
    plain.upload(part10(report(uid)))
    archive = OrthancArchive(connect(plain.url, username=USER, password=PASSWORD), plain.storage)
    (stamp,) = archive.studies(uid)
    (instance,) = archive.study(stamp.id).instances
    assert set(instance.attributes) == {"Modality", "Manufacturer"}
    archive.close()
