import io

import cv2
import numpy as np
import pydicom
import pytest

from airouter.domain import codes
from airouter.imaging.frames import dataset_frames
from phantoms import dicom, perimetry
from tests.data import data
from tests.dciodvfy import errors

RGB = cv2.resize(np.random.default_rng(0).integers(60, 250, (9, 11, 3), np.uint8), (220, 180))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"transfer": "raw", "stain": "H-DAB"},
        {"transfer": "jpeg2000", "stain": None, "with_thumbnail": True, "with_label": True},
        {"transfer": "jpeg2000-lossy"},
        {"transfer": "htj2k"},
        {"transfer": "jpegls", "offset_table": "none"},
        {"sparse": True, "offset_table": "extended"},
    ],
    ids=str,
)
def test_a_slide_conforms(options):
    for ds in dicom.slide_instances(RGB, 0.5, levels=2, tile=64, **options):
        assert errors(ds) == []


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("kind", ["stack", "grey", "deep"])
def test_optical_paths_focal_planes_and_grey_conform(kind, sparse):
    image = {
        "stack": np.broadcast_to(RGB, (2, 3, *RGB.shape)),
        "grey": RGB[..., :1],
        "deep": RGB[..., :1].astype(np.uint16) * 200,
    }[kind]
    for ds in dicom.slide_instances(image, 0.5, levels=2, tile=64, transfer="raw", sparse=sparse, with_overview=True):
        assert errors(ds) == []


@pytest.mark.parametrize("options", [{}, {"laterality": "L", "spacing_mm": 0.005, "transfer": "raw"}], ids=str)
def test_a_fundus_photograph_conforms(options):
    assert errors(dicom.fundus_instance(RGB, **options)) == []


DEVIATIONS = [(-1.0, 5.0, 0.5, 100.0), (-2.0, 5.0, None, None), (-4.0, 2.0, -3.0, 2.0), (-1.0, 100.0, 0.0, 2.0)]


@pytest.mark.parametrize(
    "options",
    [
        {"laterality": "L"},
        {"pattern": None, "strategy": None, "stimulus_deg2": 1.72},
        {"pattern": "30-2", "strategy": "SITA-Fast", "blind_spot": (15.0, -1.5), "foveal_db": 34.0},
        {"pattern": "10-2", "strategy": "Full Threshold", "age": "060Y", "birth_date": "", "duration_s": 0.0},
        {"points": ((-3.0, 3.0, -1.0), (3.0, 3.0, 0.0))},
        {"fixation": None, "false_positives": None, "false_negatives": None},
        {"false_positive_percent": None, "false_negative_percent": None},
        {"excessive": ("fixation", "positives", "negatives")},
        {"deviations": DEVIATIONS},
        {"md": (-3.0, 5.0), "psd": (2.0, 1.0), "vfi": (93.0, 2.0), "ght": codes.OUTSIDE_NORMAL_LIMITS},
        {"md": (-3.0, None), "psd": (2.0, None), "vfi": (90.0, None), "ght": codes.WITHIN_NORMAL_LIMITS},
    ],
    ids=str,
)
def test_a_visual_field_conforms(options):
    assert errors(dicom.field_instance(**options)) == []


@pytest.mark.parametrize("number", [0, 40, 200])
def test_a_real_visual_field_conforms(number):
    folder = data("perimetry")
    reference = perimetry.normals(perimetry.read(folder / perimetry.CONTROLS))
    assert errors(perimetry.instance(perimetry.read(folder / perimetry.RETEST)[number], reference)) == []


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_oct_volume_conforms_but_for_the_contradiction_of_its_iod(dtype):
    photograph = dicom.fundus_instance(RGB)
    frames = np.arange(3 * 40 * 30, dtype=dtype).reshape(3, 40, 30)
    found = errors(dicom.oct_instance(frames, localizer=photograph))
    assert all("Concatenation" in line and "OphthalmicTomographyImage" in line for line in found), found
    assert len(found) == 3


def test_the_parts_of_a_concatenation_conform_but_for_the_count_of_the_whole():
    parts = dicom.slide_instances(RGB, 0.5, levels=1, tile=64, concatenation_parts=3)
    assert [int(p.InConcatenationNumber) for p in parts] == [1, 2, 3]
    assert sum(int(p.NumberOfFrames) for p in parts) == 12
    for part in parts:
        assert ["NumberOfFrames" in line for line in errors(part)] == [True]


def test_a_seed_decides_every_byte_and_its_absence_gives_fresh_uids():
    def stored(**options):
        buffer = io.BytesIO()
        for ds in dicom.slide_instances(RGB, 0.5, levels=2, tile=64, **options):
            pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
        return buffer.getvalue()

    assert stored(seed=1) == stored(seed=1)
    assert stored(seed=1) != stored(seed=2)
    one, other = (dicom.fundus_instance(RGB) for _ in range(2))
    assert one.SOPInstanceUID != other.SOPInstanceUID


def test_a_lossless_slide_holds_the_picture():
    whole = dicom.slide_instances(RGB, 0.5, levels=1, tile=64, transfer="raw")[0]
    (first,) = dataset_frames(whole, [1])
    assert (np.frombuffer(first, np.uint8).reshape(64, 64, 3) == RGB[:64, :64]).all()
