"""Files and folders of DICOM on a disk, read without an archive."""

from pathlib import Path

import pytest
from pydicom import dcmwrite

from airouter.adapters.files import LocalFiles
from airouter.domain.study import Modality
from airouter.errors import NotInArchive, PixelDataError
from airouter.imaging.frames import dataset_frames
from airouter.imaging.reader import open_images
from airouter.imaging.slide import Slide
from phantoms.dicom import fundus_instance, slide_instances
from phantoms.fundus import fundus
from phantoms.slide import slide


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of two levels and a thumbnail, one level twice; a photograph; and what is neither."""
    root = tmp_path_factory.mktemp("files")
    (root / "deep" / "er").mkdir(parents=True)
    rgb = slide(512, 640, 1.0, seed=1).rgb
    for n, level in enumerate(slide_instances(rgb, 1.0, levels=2, with_thumbnail=True, seed="files")):
        dcmwrite(root / "deep" / f"{n}.dcm", level, enforce_file_format=True)
    dcmwrite(root / "deep" / "er" / "photo", fundus_instance(fundus(256, "R", seed=1).rgb), enforce_file_format=True)
    (root / "deep" / "er" / "0.dcm").write_bytes((root / "deep" / "0.dcm").read_bytes())
    (root / "notes.txt").write_text("not DICOM")
    (root / "empty").write_bytes(b"")
    return root


def test_a_folder_is_searched_and_what_is_no_image_is_passed_over(folder: Path) -> None:
    sets = LocalFiles([folder]).image_sets()
    assert sorted((s.modality, len(s.instances)) for s in sets) == [(Modality.OP, 1), (Modality.SM, 3)]


def test_a_slide_is_opened_from_its_files(folder: Path) -> None:
    source = LocalFiles([folder / "deep", folder])
    (images,) = [s for s in source.image_sets() if s.modality is Modality.SM]
    opened = open_images(images.modality, [(i, source.header(i.id)) for i in images.instances], source.frames)
    assert isinstance(opened, Slide)
    assert [(level.rows, level.columns) for level in opened.levels] == [(512, 640), (256, 320)]
    assert opened.base.region(0, 0, 512, 640).std() > 0


def test_frames_are_those_of_the_file(folder: Path) -> None:
    (level, *_) = slide_instances(slide(512, 640, 1.0, seed=1).rgb, 1.0, levels=2, with_thumbnail=True, seed="files")
    source = LocalFiles([folder / "deep" / "0.dcm"])
    assert list(source.frames(level.SOPInstanceUID, [6, 1])) == list(dataset_frames(level, [6, 1]))


def test_what_is_not_there_or_no_dicom_is_said(folder: Path) -> None:
    with pytest.raises(NotInArchive, match=r"absent\.dcm is not there"):
        LocalFiles([folder / "absent.dcm"])
    with pytest.raises(PixelDataError, match=r"notes\.txt is not a DICOM file"):
        LocalFiles([folder / "notes.txt"])
    source = LocalFiles([folder / "deep" / "1.dcm"])
    with pytest.raises(NotInArchive):
        source.header("1.2.3")
    (folder / "gone.dcm").write_bytes((folder / "deep" / "1.dcm").read_bytes())
    source = LocalFiles([folder / "gone.dcm"])
    (folder / "gone.dcm").unlink()
    with pytest.raises(NotInArchive, match="cannot be read"):
        list(source.frames(source.image_sets()[0].instances[0].id, [1]))
