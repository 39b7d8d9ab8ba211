"""A slide in a scanner's own format becomes DICOM: pixels, geometry, identity, and what is refused."""

import copy
import datetime
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.dataset import Dataset

from airouter.adapters import converter
from airouter.adapters.converter import Converted, Converter, environment, interpreter
from airouter.adapters.sidecar import Description
from airouter.adapters.slide_header import describe
from airouter.errors import ImportStopped, SlideError
from airouter.imaging.stain import stain
from tests.data import data
from tests.dciodvfy import assert_conformant
from tests.images import opened
from tests.slide_files import PATIENT, SPACING_UM, description, picture, tiled_tiff


@dataclass(frozen=True)
class Conversion:
    answer: Converted
    objects: list[Dataset]


def described(**changes: Any) -> Description:
    return Description.model_validate_json(json.dumps(description(**changes)))


def convert(file: Path, folder: Path, **changes: Any) -> Conversion:
    folder.mkdir()
    done = Converter().convert(file, folder, described(**changes))
    assert sorted(p for p in folder.rglob("*") if p.is_file()) == sorted(done.files), "no other file is left"
    return Conversion(done, [pydicom.dcmread(path) for path in done.files])


@dataclass(frozen=True)
class Job:
    """One file for `in_one_process`."""

    file: Path
    description: Mapping[str, Any] = field(default_factory=description)
    options: Mapping[str, Any] = field(default_factory=dict)


def in_one_process(folder: Path, *jobs: Job) -> list[dict[str, Any] | str]:
    """What the converter answers or says in refusal, in one process: to load its libraries takes seconds.

    The n-th conversion is in `folder`/n; `objects` reads it.
    """
    code = (
        "import json, sys, pathlib; from airouter.adapters import dicomize; from airouter.errors import SlideError\n"
        "def said(n, job):\n"
        "    folder = pathlib.Path(sys.argv[2]) / str(n); folder.mkdir()\n"
        "    described = dicomize.Description.model_validate_json(json.dumps(job['description']))\n"
        "    try: return dicomize.convert(pathlib.Path(job['file']), folder, described, **job['options'])\n"
        "    except SlideError as error: return f'{type(error).__name__}: {error}'\n"
        "print(json.dumps([said(n, job) for n, job in enumerate(json.loads(sys.argv[1]))]))"
    )
    asked = [{"file": str(j.file), "description": dict(j.description), "options": dict(j.options)} for j in jobs]
    done = subprocess.run(
        [str(interpreter()), "-c", code, json.dumps(asked), str(folder)],
        env=environment(folder),
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    said: list[dict[str, Any] | str] = json.loads(done.stdout.splitlines()[-1])
    return said


def objects(folder: Path, answer: dict[str, Any] | str) -> list[Dataset]:
    assert isinstance(answer, dict), answer
    assert sorted(p.name for p in folder.iterdir() if p.is_file()) == sorted(answer["files"])
    return [pydicom.dcmread(folder / name) for name in answer["files"]]


@pytest.fixture(scope="module")
def tiff(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiled_tiff(tmp_path_factory.mktemp("tiff") / "a.tiff", picture())


@pytest.fixture(scope="module")
def made(tiff: Path) -> Conversion:
    """That file, converted."""
    return convert(tiff, tiff.with_name("converted"))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    """A real SVS, converted."""
    file = data("slides/cmu-1-small-region.svs")
    return convert(file, tmp_path_factory.mktemp("svs") / "converted", specimen={"stain": "H&E"})


def test_a_tiff_becomes_a_slide_that_our_own_reader_understands(made: Conversion) -> None:
    slide = opened(made.objects)
    assert [(level.rows, level.columns) for level in slide.levels] == [(768, 1024), (384, 512)]
    assert slide.base.spacing_um == pytest.approx(SPACING_UM)
    assert slide.stain == "H-DAB"
    difference = abs(slide.region(slide.base, 0, 0, 768, 1024).astype(int) - picture())
    assert difference.mean() < 1.5, "encoded anew with quality 95 and full colour"
    assert not made.answer.tiles_kept
    assert made.answer.spacing_um == pytest.approx(SPACING_UM)
    for instance in made.objects:
        assert_conformant(instance)


def test_jpeg_tiles_of_a_real_svs_stay_as_they_are(real: Conversion) -> None:
    openslide = pytest.importorskip("openslide")
    slide = opened(real.objects)
    with openslide.OpenSlide(data("slides/cmu-1-small-region.svs")) as other:
        columns, rows = other.dimensions
        expected = np.asarray(other.read_region((0, 0), 0, (columns, rows)).convert("RGB"))
    assert (slide.base.columns, slide.base.rows) == (columns, rows)
    pixels = slide.region(slide.base, 0, 0, rows, columns)
    assert abs(pixels.astype(int) - expected).max() <= 1
    assert real.answer.tiles_kept
    assert slide.base.spacing_um == pytest.approx(0.499)
    assert slide.stain == "H&E"
    # The file has one level; coarser ones were made, and show the same.
    assert len(slide.levels) > 2
    half = slide.region(slide.levels[1], 0, 0, rows // 2, columns // 2).astype(float)
    means = expected[: rows // 2 * 2, : columns // 2 * 2].reshape(rows // 2, 2, columns // 2, 2, 3).mean((1, 3))
    assert abs(half - means).mean() < 2.5
    for instance in real.objects:
        assert_conformant(instance)


def test_labels_stay_out_unless_asked_for_and_what_is_cut_short_altogether(real: Conversion, tmp_path: Path) -> None:
    assert {str(instance.ImageType[2]) for instance in real.objects} == {"VOLUME"}
    assert set(real.answer.left_out) == {"label", "macro", "thumbnail"}
    wanted = {"with_label": True, "with_overview": True}
    file = data("slides/cmu-1-small-region.svs")
    whole = file.read_bytes()
    cut = [tmp_path / "most.svs", tmp_path / "half.svs"]  # tiles that are kept are not decoded, and missed all the same
    for path, size in zip(cut, (len(whole) - 1000, len(whole) // 2), strict=True):
        path.write_bytes(whole[:size])
    answer, *refused = in_one_process(tmp_path, Job(file, description(spacing_um=0.25), wanted), *map(Job, cut))
    assert all(str(said).startswith("SlideError: ") for said in refused)
    done = objects(tmp_path / "0", answer)
    assert isinstance(answer, dict)
    flavours = [str(instance.ImageType[2]) for instance in done]
    assert [flavour for flavour in flavours if flavour != "VOLUME"] == ["OVERVIEW", "LABEL"]
    assert [instance.BurnedInAnnotation for instance in done[-3:]] == ["NO", "YES", "YES"]
    assert answer["left_out"] == ["thumbnail"]
    for instance in (done[0], *done[-2:]):
        assert_conformant(instance)
    # The spacing that is given goes before that of the file, on every level.
    slide = opened(done)
    assert slide.base.spacing_um == pytest.approx(0.25)
    assert slide.levels[1].spacing_um == pytest.approx(0.5)
    assert answer["kept"]


def header(made: Conversion, digest: str = "d", number: int = 1, **changes: Any) -> Dataset:
    """The header of the converted file, described otherwise."""
    copied = copy.deepcopy(made.objects[number - 1])
    describe(copied, described(**changes), digest, number, datetime.datetime(2026, 5, 6, 7, 8, 9))
    return copied


def test_the_header_says_what_the_sidecar_says(made: Conversion) -> None:
    site = {"value": "76752008", "scheme": "SCT", "meaning": "Breast"}
    found = header(made, specimen={"identifier": "S26-17-A", "site": site}, study={"description": "Brüste"})
    assert (found.PatientID, found.PatientBirthDate, found.PatientSex) == ("IMPORT-1", "19600517", "F")
    assert found.PatientName == PATIENT
    assert (found.AccessionNumber, found.StudyDate, found.StudyTime) == ("A26-17", "20260304", "101112")
    assert found.StudyDescription == "Brüste"
    assert found.ContainerIdentifier == "S26-17-A1-2"
    (specimen,) = found.SpecimenDescriptionSequence
    assert specimen.SpecimenIdentifier == "S26-17-A"
    assert specimen.PrimaryAnatomicStructureSequence[0].CodeMeaning == "Breast"
    assert_conformant(found)


def test_what_the_converter_gets_wrong_is_mended(made: Conversion, tiff: Path) -> None:
    found, half = made.objects
    # A TIFF does not say when it was acquired, and the converter's 1970 would be wrong.
    assert found.AcquisitionDateTime == "20260304101112"
    assert (found.ContentDate, found.ContentTime) == ("20260304", "101112")
    assert header(made, study={"date": None, "time": None}).AcquisitionDateTime == "20260304101112", "said by now"
    assert list(found.ImageType) == ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    assert list(half.ImageType) == ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
    (group,) = half.SharedFunctionalGroupsSequence
    assert group.WholeSlideMicroscopyImageFrameTypeSequence[0].FrameType == half.ImageType
    assert (found.InstanceNumber, half.InstanceNumber) == (1, 2)
    assert found.Manufacturer == "Unknown"
    assert not found.get("ContributingEquipmentSequence"), "routing would take it for a result of ours"


@pytest.mark.parametrize("wanted", ["H&E", "H-DAB", None])
def test_the_stain_is_recognised_as_it_was_described(made: Conversion, wanted: str | None) -> None:
    assert stain(header(made, specimen={"stain": wanted})) == wanted


def test_the_same_file_becomes_the_same_objects_whatever_its_name(made: Conversion, tiff: Path, tmp_path: Path) -> None:
    other = tmp_path / "a; touch hacked $(touch hacked) '\".tif"
    shutil.copyfile(tiff, other)
    again = convert(other, tmp_path / "again")
    assert [p.read_bytes() for p in again.answer.files] == [p.read_bytes() for p in made.answer.files]
    assert again.answer.sha256 == made.answer.sha256 == hashlib.sha256(tiff.read_bytes()).hexdigest()
    assert not list(tmp_path.rglob("hacked"))


def test_identity_derives_from_content_and_the_study_from_who_and_what(made: Conversion) -> None:
    found, half = header(made), header(made, number=2)
    patient = header(made, patient={"id": "IMPORT-2"})
    other = header(made, digest="e", specimen={"container": "B"})
    assert found.SOPInstanceUID == patient.SOPInstanceUID == found.file_meta.MediaStorageSOPInstanceUID
    assert found.SeriesInstanceUID == patient.SeriesInstanceUID == half.SeriesInstanceUID, "so that it is noticed"
    assert found.StudyInstanceUID != patient.StudyInstanceUID
    assert found.StudyInstanceUID == other.StudyInstanceUID, "two slides of one accession"
    assert len({found.SOPInstanceUID, half.SOPInstanceUID, other.SOPInstanceUID}) == 3
    assert found.SeriesInstanceUID != other.SeriesInstanceUID
    assert header(made, study={"instance_uid": "1.2.3"}).StudyInstanceUID == "1.2.3"
    nameless = [header(made, study={"accession_number": None}, specimen={"container": c}) for c in "AB"]
    assert nameless[0].StudyInstanceUID != nameless[1].StudyInstanceUID


def test_what_is_no_whole_slide_is_refused(tiff: Path, tmp_path: Path) -> None:
    whole = tiff.read_bytes()
    contents = {
        "empty.tiff": (b"", "no format"),
        "head.tiff": (whole[:1000], "no format"),
        "most.tiff": (whole[: int(0.9 * len(whole))], ""),
        "text.svs": (b"no slide at all" * 100, "no format"),
        "png.tiff": (b"\x89PNG\r\n\x1a\n" + bytes(100), "no format"),
        "tags.tiff": (b"II*\0" + bytes(64), "no format"),
        "Canary.tiff": (whole[:-1], ""),
    }
    for name, (content, _) in contents.items():
        (tmp_path / name).write_bytes(content)
    without = tiled_tiff(tmp_path / "without.tiff", picture(256, 256), spacing_um=None, levels=1)
    printed = tiled_tiff(tmp_path / "printed.tiff", picture(256, 256), spacing_um=25400 / 300, levels=1)
    late = tiled_tiff(tmp_path / "late.tiff", picture())
    with tifffile.TiffFile(late, mode="r+") as tiff_file:  # a tile of the finest level that ends beyond the file
        sizes = tiff_file.pages[0].tags["TileByteCounts"]
        sizes.overwrite([*sizes.value[:-1], 1 << 24])
    linked = tmp_path / "linked.mrxs"
    linked.write_bytes(b"x")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "Data0000.dat").symlink_to("/etc/hostname")
    twice = tmp_path / "twice.ome.tiff"  # its XML says another spacing than its tags
    with tifffile.TiffWriter(twice, ome=True) as writer:
        units = {f"PhysicalSize{axis}Unit": "\N{MICRO SIGN}m" for axis in "XY"}
        said_in_xml = {"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25, **units}
        tags = {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER", "compression": "jpeg"}
        writer.write(picture(256, 256), tile=(256, 256), photometric="rgb", metadata=said_in_xml, **tags)
    large = tmp_path / "large.tiff"  # of holes
    with large.open("wb") as stream:
        stream.truncate(shutil.disk_usage(tmp_path).free)
    (tmp_path / "out").mkdir()
    files = [*(tmp_path / name for name in contents), without, printed, late, linked, twice, large]
    given = Job(without, description(spacing_um=0.4))
    *answers, sound = in_one_process(tmp_path / "out", *map(Job, files), given)
    said = {file: str(answer) for file, answer in zip(files, answers, strict=True)}
    for name, (_, told) in contents.items():
        assert said[tmp_path / name].startswith("SlideError: "), name
        assert told in said[tmp_path / name]
    assert "give spacing_um" in said[without]
    assert "give spacing_um" in said[printed], "300 dots per inch is a printer's"
    assert "cut short" in said[late]
    assert "link" in said[linked]
    assert "in one place that its pixels lie 0.5 um apart and in another 0.25 um" in said[twice]
    assert said[large].startswith("NoRoom: ")
    assert not any("Canary" in text for text in said.values()), "files are named for patients"
    # A spacing that the file lacks can be given.
    slide = opened(objects(tmp_path / "out" / str(len(files)), sound))
    assert isinstance(sound, dict)
    assert sound["spacing_given"]
    assert slide.base.spacing_um == pytest.approx(0.4)


# -- the child -------------------------------------------------------------------------------------------------------


def program(folder: Path, text: str) -> Path:
    path = folder / "python-stub"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("text", "told"), [("kill -SEGV $$", "signal 11"), ("exit 3", "exit code 3"), ("echo hm", "exit")]
)
def test_a_parser_that_crashes_is_an_error_of_the_slide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    monkeypatch.setattr(converter, "interpreter", lambda: program(tmp_path, text))
    with pytest.raises(SlideError, match=told):
        Converter().convert(tmp_path / "a.svs", tmp_path, described())


def test_a_parser_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = program(tmp_path, f"echo $$ > {tmp_path}/pid; trap '' TERM; while :; do sleep 0.1; done")
    monkeypatch.setattr(converter, "interpreter", lambda: stub)
    monkeypatch.setattr(converter, "_GRACE", 0.2)
    with pytest.raises(SlideError, match="took longer"):
        Converter(limit_seconds=0.5).convert(tmp_path / "a.svs", tmp_path, described())
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_stop_ends_the_child_and_is_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Converter()
    made.stop()
    with pytest.raises(ImportStopped):
        made.convert(tmp_path / "a.svs", tmp_path, described())
    assert made.stopping


def test_the_child_ends_with_whoever_asked(tmp_path: Path) -> None:
    """As after kill -9 of Orthanc: its standard input closes."""
    file = tiled_tiff(tmp_path / "a.tiff", picture())
    request = {
        "file": str(file),
        "folder": str(tmp_path),
        "description": description(),
        "with_label": False,
        "with_overview": False,
    }
    done = subprocess.run(
        [str(interpreter()), "-m", "airouter.adapters.dicomize"],
        input=json.dumps(request).encode() + b"\n",
        env=environment(tmp_path),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert not (tmp_path / "1.dcm").exists()


def test_the_child_gets_no_secret_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIROUTER_PASSWORD", "let-nobody-know")
    stub = program(
        tmp_path,
        'env > seen; echo "$@" > arguments; read line; echo "{\\"error\\": \\"x\\", \\"kind\\": \\"SlideError\\"}"',
    )
    monkeypatch.setattr(converter, "interpreter", lambda: stub)
    with pytest.raises(SlideError, match="x"):
        Converter().convert(tmp_path / "a.svs", tmp_path, described())
    assert "let-nobody-know" not in (tmp_path / "seen").read_text()
    assert (tmp_path / "arguments").read_text().split() == ["-m", "airouter.adapters.dicomize"]


def test_the_process_that_asks_does_not_load_the_parsers() -> None:
    code = (
        "import sys, airouter.app, airouter.cli\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('wsidicomizer', 'wsidicom', 'opentile', 'tifffile')])"
    )
    done = subprocess.run([str(interpreter()), "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
