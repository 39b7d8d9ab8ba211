"""Tissue divided into classes: areas, places and the tumour bed are those of the truth."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from airouter.domain.finding import Ungradable
from airouter.domain.model import HeadKind
from airouter.domain.study import Modality
from airouter.pipelines.compartments import Compartments, closed, compartments
from phantoms.dicom import slide_instances
from tests.pipelines import colours
from tests.pipelines.oracle import Progress, Seen, model, opened

UM = 2.0


def divided(painted: colours.Painted, **changes: object) -> Compartments:
    slide = opened(slide_instances(painted.rgb, UM, levels=2, transfer="raw"))
    about = model(
        Modality.SM, HeadKind.SEGMENTATION, colours.NAMES, spacing_um=UM, exclusive=True, codeless=("background",)
    )
    found = compartments(slide, Seen(about, colours.maps), 2, Progress(), **changes)  # type: ignore[arg-type]
    assert isinstance(found, Compartments)
    return found


def test_areas_are_those_of_the_truth_and_add_up() -> None:
    painted = colours.section(700, 900, 120)
    found = divided(painted)
    inside = found.analysed()
    for name in ("tumour", "stroma", "necrosis"):
        truth = painted.classes == colours.NAMES.index(name)
        assert np.array_equal(found.of(name) & inside, truth & inside)
        assert found.class_mm2(name) == found.area_mm2(found.of(name))
    total = sum(found.class_mm2(name) for name in colours.NAMES)
    assert np.isclose(total, found.tissue_mm2)
    tumour = (painted.classes == colours.NAMES.index("tumour")).sum() * UM**2 * 1e-6
    assert np.isclose(found.class_mm2("tumour"), tumour)
    assert found.class_mm2("normal") == 0.0 and not found.has("normal") and not found.of("normal").any()


def test_places_of_another_level_fall_on_the_same_tissue() -> None:
    painted = colours.section(700, 900, 120)
    found = divided(painted)
    coarse = found.region.slide.levels[1]
    middle = np.array([[900 * 0.45 / 2, 700 * 0.55 / 2]])  # the necrosis, in pixels of the coarse level
    assert found.at(found.of("necrosis"), middle, coarse).tolist() == [True]
    assert found.at(found.of("stroma"), middle, coarse).tolist() == [False]


def test_the_watcher_is_heard_in_the_order_of_the_patches() -> None:
    found = divided(colours.section(700, 900, 120), watch=lambda number, patch, maps: number)
    assert found.watched == tuple(range(len(found.region.plan)))


def test_the_bed_takes_in_what_lies_between_nests() -> None:
    classes = np.zeros((400, 600), np.uint8)
    classes[50:350, 50:550] = 1
    classes[150:250, 100:200] = classes[150:250, 240:340] = 2  # 80 um apart
    classes[150:250, 500:540] = 2  # 320 um from the next
    found = divided(colours.paint(classes))
    bed = found.bed(50.0)
    assert bed[200, 220] and not bed[200, 420]
    assert np.array_equal(bed & found.of("tumour"), found.of("tumour"))
    assert not (bed & ~found.analysed()).any()


def test_the_outline_goes_around_the_mask() -> None:
    found = divided(colours.section(700, 900, 120))
    region = found.outline(found.of("tumour", "necrosis"))
    radius = min(700, 900) / 4
    away = np.hypot(region.points[:, 0] - 900 * 0.45, region.points[:, 1] - 700 * 0.55)
    assert region.source == found.level.instance_uid and np.abs(away - radius).max() < 2.0


def test_a_slide_without_tissue_is_not_divided() -> None:
    slide = opened(slide_instances(np.full((300, 300, 3), 244, np.uint8), UM, levels=1, transfer="raw"))
    about = model(Modality.SM, HeadKind.SEGMENTATION, colours.NAMES, spacing_um=UM, exclusive=True)
    found = compartments(slide, Seen(about, colours.maps), 1, Progress())
    assert found == Ungradable("not analysed because no tissue was found on the slide")


@given(st.integers(0, 2**32 - 1), st.sampled_from([1.2, 1.7, 2.5, 3.3, 4.7, 6.2, 8.7]))  # no distance of two pixels
def test_closing_is_that_of_a_disc(seed: int, radius: float) -> None:
    mask = np.random.default_rng(seed).random((24, 31)) < 0.06
    found = closed(mask, radius)
    reach = int(radius) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.hypot(x, y) <= radius
    padded = np.pad(mask, 2 * reach)
    wanted = ndimage.binary_closing(padded, disc)[2 * reach : -2 * reach, 2 * reach : -2 * reach]
    assert np.array_equal(found, wanted)
    assert not (mask & ~found).any() and np.array_equal(closed(mask[::-1], radius), found[::-1])


def test_a_large_field_is_closed_on_a_coarser_grid(monkeypatch) -> None:
    monkeypatch.setattr("airouter.pipelines.compartments._BED_PIXELS", 1 << 12)
    mask = np.zeros((200, 300), np.bool_)
    mask[90:110, 40:120] = mask[90:110, 140:240] = True
    found = closed(mask, 20.0)
    assert found[100, 130] and not found[40, 130] and not (mask & ~found).any()
