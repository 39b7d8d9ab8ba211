"""Cuts of images: exactly the box, whatever lies outside of the image."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airouter.adapters.memory import MemoryArchive
from airouter.domain.study import Modality
from airouter.errors import RequestError
from airouter.imaging.crop import Box, cut, cut_of_slide, encoded
from airouter.imaging.reader import open_images
from airouter.imaging.slide import Slide
from phantoms.dicom import slide_instances

EDGE = st.integers(-30, 60)


@settings(deadline=None)
@given(left=EDGE, top=EDGE, width=st.integers(1, 60), height=st.integers(1, 60))
def test_a_box_is_the_image_where_they_meet_and_black_elsewhere(left: int, top: int, width: int, height: int) -> None:
    image = np.random.default_rng(3).integers(1, 255, (20, 30, 3), np.uint8)
    made = cut(image, Box(left, top, left + width, top + height), 1000)
    assert made.shape == (height, width, 3)
    around = np.zeros((200, 200, 3), np.uint8)
    around[40:60, 40:70] = image
    np.testing.assert_array_equal(made, around[top + 40 : top + 40 + height, left + 40 : left + 40 + width])


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(4, 64))
def test_a_cut_is_no_larger_than_asked(rows: int, columns: int, side: int) -> None:
    image = np.full((rows, columns, 1), 77, np.uint8)
    for made in (cut(image, None, side), cut(image, Box(0, 0, columns, rows), side)):
        assert max(made.shape[:2]) <= max(side, 1)
        assert (made == 77).all()


def test_scaling_down_keeps_places() -> None:
    image = np.zeros((200, 100), np.uint8)
    image[100:] = 200
    made = cut(image, Box(0, -200, 100, 200), 40)
    assert made.shape == (40, 10)
    assert (made[:30] == 0).all() and (made[30:] == 200).all()


@pytest.mark.parametrize("box", [(5, 0, 5, 9), (9, 0, 5, 9), (0, 9, 9, 0), (0, 0, 9, 1 << 22)])
def test_an_impossible_box_is_refused(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(RequestError):
        Box(*box)


def opened(side: int = 256) -> tuple[Slide, np.ndarray]:
    rng = np.random.default_rng(5)
    rgb = cv2.resize(rng.integers(0, 255, (16, 16, 3), np.uint8), (side, side), interpolation=cv2.INTER_NEAREST)
    archive = MemoryArchive(*slide_instances(rgb, spacing_um=0.5, seed="crop", levels=2))
    (stamp,) = archive.studies()
    headers = [(i, archive.header(i.id)) for i in archive.study(stamp.id).instances]
    slide = open_images(Modality.SM, headers, archive.frames)
    assert isinstance(slide, Slide)
    return slide, rgb


def test_a_place_on_a_slide_is_the_one_of_the_level_that_is_named() -> None:
    slide, rgb = opened()
    fine, coarse = slide.levels[0], slide.levels[-1]
    own = cut_of_slide(slide, fine.instance_uid, Box(64, 32, 128, 96), 64)
    assert np.abs(own.astype(int) - rgb[32:96, 64:128]).mean() < 12
    ratio = fine.columns // coarse.columns
    there = cut_of_slide(slide, coarse.instance_uid, Box(64 // ratio, 32 // ratio, 128 // ratio, 96 // ratio), 64)
    small = cv2.resize(own, there.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(there.astype(int) - small).mean() < 12
    outside = cut_of_slide(slide, fine.instance_uid, Box(-64, -64, 0, 0), 64)
    assert (outside == 255).all()
    with pytest.raises(RequestError):
        cut_of_slide(slide, "1.2.3", Box(0, 0, 8, 8), 64)


def test_a_large_place_is_read_from_a_coarse_level() -> None:
    slide, _ = opened()
    fine, coarse = slide.levels[0], slide.levels[-1]
    made = cut_of_slide(slide, fine.instance_uid, Box(0, 0, fine.columns, fine.rows), 64)
    assert max(made.shape[:2]) == 64
    whole = cut_of_slide(slide, coarse.instance_uid, Box(0, 0, coarse.columns, coarse.rows), 64)
    np.testing.assert_array_equal(made, whole)


@pytest.mark.parametrize("samples", [1, 3])
def test_colours_survive_the_encoding(samples: int) -> None:
    image = np.zeros((8, 8, samples), np.uint8)
    image[:, :, 0] = 200
    read = cv2.imdecode(np.frombuffer(encoded(image, ".png"), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert (read[..., 0] == 200).all()
    assert (read[..., 2] == (200 if samples == 1 else 0)).all()
