"""Generated histology says the truth about itself."""

import time
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airouter.imaging.nuclei import dab_od, mean_per_label
from phantoms.histology import KINDS, NAMES, Histology, histology

SIDE = 900  # pixels of 1 um: nearly a square millimetre


def made(**arguments: Any) -> Histology:
    return histology(SIDE, SIDE, 1.0, **{"seed": 5, **arguments})


def where(phantom: Histology, *names: str) -> np.ndarray:
    return np.isin(phantom.classes, [NAMES.index(name) for name in names])


@pytest.fixture(scope="module")
def breast() -> Histology:
    return made(tumour=0.3, tubules=0.3, necrosis=0.05, normal=0.1, til=0.15, mitoses_per_mm2=40.0)


def test_shapes_and_types(breast: Histology) -> None:
    assert breast.rgb.shape == (SIDE, SIDE, 3)
    assert breast.classes.shape == breast.labels.shape == (SIDE, SIDE)
    n = int(breast.labels.max()) + 1
    assert breast.kind.shape == breast.positive.shape == breast.membrane.shape == (n,)
    assert breast.centres.shape == (n, 2)
    assert [a.dtype for a in (breast.rgb, breast.classes, breast.kind, breast.membrane)] == [np.uint8] * 4
    assert breast.labels.dtype == np.int32
    assert np.unique(breast.labels).tolist() == list(range(n))
    assert breast.kind[0] == KINDS.index("none")
    assert breast.stain == "H&E"
    assert not breast.positive.any()
    assert not breast.membrane.any()


def test_areas_are_near_what_was_asked(breast: Histology) -> None:
    tissue = breast.mm2(*NAMES[1:])
    assert breast.mm2("tumour", "tubule") / tissue == pytest.approx(0.3, abs=0.03)
    assert breast.mm2("tubule") / breast.mm2("tumour", "tubule") == pytest.approx(0.3, abs=0.08)
    assert breast.mm2("necrosis") / tissue == pytest.approx(0.05, abs=0.01)
    assert breast.mm2("normal") / tissue == pytest.approx(0.1, abs=0.02)
    assert breast.mm2(*NAMES) == pytest.approx(SIDE**2 * 1e-6)
    assert breast.til == pytest.approx(0.15, abs=0.01)


def test_kinds_lie_in_their_compartments(breast: Histology) -> None:
    home = {
        "tumour": ("tumour", "tubule"),
        "mitosis": ("tumour", "tubule"),
        "lymphocyte": ("stroma",),
        "stromal": ("stroma", "normal"),
        "normal": ("normal",),
    }
    of_pixel = breast.kind[breast.labels]
    for name, compartments in home.items():
        pixels = of_pixel == KINDS.index(name)
        assert pixels.any(), name
        assert where(breast, *compartments)[pixels].all(), name
    row, col = breast.centres[1:].T
    assert where(breast, "tumour", "tubule", "stroma", "normal")[row, col].all()


def test_centres_lie_in_or_beside_their_nuclei(breast: Histology) -> None:
    numbers = np.arange(1, len(breast.kind))
    row, col = breast.centres[1:].T
    within = breast.labels[row, col] == numbers
    hollow = breast.kind[1:] == KINDS.index("mitosis")  # a ring has no middle
    assert within[~hollow].all()


def test_mitoses_are_as_many_as_asked_and_the_darkest(breast: Histology) -> None:
    assert len(breast.of_kind("mitosis")) == round(40.0 * breast.mm2("tumour", "tubule"))
    grey = mean_per_label(breast.rgb.mean(axis=2).astype(np.float32), breast.labels)
    mean = {name: grey[breast.of_kind(name)].mean() for name in KINDS[1:]}
    assert mean["mitosis"] == min(mean.values())
    assert mean["lymphocyte"] + 10 < mean["tumour"]


def test_tumour_nuclei_grow_with_pleomorphism_and_lymphocytes_are_small() -> None:
    sizes = []
    for grade in (1, 2, 3):
        phantom = histology(500, 500, 0.5, seed=2, edge=False, pleomorphism=grade, til=0.1, normal=0.15)
        areas = np.bincount(phantom.labels.ravel()) * 0.5**2
        diameter = {name: 2 * np.sqrt(np.median(areas[phantom.of_kind(name)]) / np.pi) for name in KINDS[1:5]}
        sizes.append((diameter["tumour"], areas[phantom.of_kind("tumour")].std()))
        assert 5.0 < diameter["lymphocyte"] < 7.0
        assert 5.5 < diameter["normal"] < 7.5
        assert 8.0 < diameter["tumour"] < 14.0
    assert sizes == sorted(sizes)
    assert sizes[0][1] < sizes[1][1] < sizes[2][1]


def test_colours_are_those_of_light_that_dyes_absorb(breast: Histology) -> None:
    grey = breast.rgb.mean(axis=2)
    assert np.median(grey[where(breast, "background")]) > 235
    stroma = np.median(breast.rgb[where(breast, "stroma") & (breast.labels == 0)], axis=0)
    assert stroma[0] > stroma[2] > stroma[1]  # eosin takes the green
    nuclei = np.median(breast.rgb[breast.labels > 0], axis=0)
    assert nuclei[2] > nuclei[0] > nuclei[1]  # haematoxylin takes red and more green
    assert np.median(grey[breast.labels > 0]) + 30 < np.median(grey[where(breast, "stroma") & (breast.labels == 0)])


def test_necrosis_holds_no_nuclei_and_is_pinker_than_tumour(breast: Histology) -> None:
    necrosis = where(breast, "necrosis")
    assert not breast.labels[necrosis].any()
    red, blue = (breast.rgb[..., n].astype(int) for n in (0, 2))
    assert np.median((red - blue)[necrosis]) > np.median((red - blue)[where(breast, "tumour")])


@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
def test_ink_is_dark_on_its_side_and_tumour_keeps_the_margin(side: Any) -> None:
    phantom = made(ink=side, margin_um=150.0, seed=3)
    ink = where(phantom, "ink")
    assert ink.any()
    assert np.median(phantom.rgb[ink].min(axis=1)) < 60
    rows, cols = (axis.mean() / SIDE for axis in np.nonzero(ink))
    assert {"top": rows < 0.3, "bottom": rows > 0.7, "left": cols < 0.3, "right": cols > 0.7}[side]
    away = cv2.distanceTransform((~ink).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    assert phantom.margin_um == pytest.approx(float(away[where(phantom, "tumour", "tubule")].min()))
    assert phantom.margin_um == pytest.approx(150.0, abs=15.0)


def test_without_ink_there_is_no_margin(breast: Histology) -> None:
    assert breast.margin_um is None
    assert not where(breast, "ink").any()


def test_deposits_have_their_diameter() -> None:
    for diameter in (150.0, 400.0):
        node = made(kind="lymph-node", deposits_um=(diameter,))
        mask = where(node, "tumour").astype(np.uint8)
        (contour,), _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        points = contour[:, 0].astype(float)
        longest = max(float(np.hypot(*(points - p).T).max()) for p in points)
        assert longest == pytest.approx(diameter, rel=0.05)
    assert len(node.of_kind("lymphocyte")) > 5 * len(node.of_kind("tumour"))
    assert not made(kind="lymph-node").of_kind("tumour").size


def test_nuclear_marker() -> None:
    phantom = made(stain="Ki-67", positive=0.3, positive_lymphocytes=0.1, mitoses_per_mm2=10.0, edge=False)
    assert phantom.stain == "H-DAB"
    assert phantom.positive[phantom.of_kind("tumour")].mean() == pytest.approx(0.3, abs=0.001)
    assert phantom.positive[phantom.of_kind("lymphocyte")].mean() == pytest.approx(0.1, abs=0.01)
    assert phantom.positive[phantom.of_kind("mitosis")].all()
    assert not phantom.positive[0]
    brown = mean_per_label(dab_od(phantom.rgb), phantom.labels)[1:]
    assert ((brown > 0.2) == phantom.positive[1:]).mean() > 0.95


@pytest.mark.parametrize("stain", ["HER2", "PD-L1"])
def test_membranous_marker(stain: Any) -> None:
    shares = (0.4, 0.3, 0.2, 0.1)
    phantom = histology(600, 600, 0.5, stain=stain, membrane=shares, positive_lymphocytes=0.2, edge=False, seed=2)
    assert not phantom.positive.any()
    tumour = np.concatenate([phantom.of_kind("tumour"), phantom.of_kind("mitosis")])
    for n, share in enumerate(shares):
        assert (phantom.membrane[tumour] == n).mean() == pytest.approx(share, abs=0.01)
    immune = phantom.membrane[phantom.of_kind("lymphocyte")]
    assert set(immune.tolist()) <= {0, 2}
    assert (immune == 2).mean() == pytest.approx(0.2 if stain == "PD-L1" else 0.0, abs=0.02)
    # brown within 3 um around the nuclei, the more the higher the class
    density = dab_od(phantom.rgb)
    grown = cv2.dilate(phantom.labels.astype(np.float32), np.ones((13, 13), np.uint8)).astype(np.int32)
    around = mean_per_label(density, np.where(phantom.labels > 0, 0, grown))
    means = [np.nanmean(around[tumour[phantom.membrane[tumour] == n]]) for n in range(4)]
    assert means == sorted(means)
    assert means[3] > means[0] + 0.2


@given(
    st.integers(0, 10_000),
    st.sampled_from(["H&E", "Ki-67", "HER2", "PD-L1"]),
    st.sampled_from(["breast", "lymph-node"]),
    st.booleans(),
    st.floats(0, 0.6),
    st.floats(0, 1),
)
@settings(max_examples=15, deadline=None)
def test_the_same_arguments_give_the_same_slide(
    seed: int, stain: Any, kind: Any, edge: bool, tumour: float, variation: float
) -> None:
    a, b = (
        histology(140, 160, 1.0, seed=seed, stain=stain, kind=kind, edge=edge, tumour=tumour, variation=variation)
        for _ in range(2)
    )
    assert np.array_equal(a.rgb, b.rgb)
    assert np.array_equal(a.labels, b.labels)
    assert np.array_equal(a.classes, b.classes)
    assert np.array_equal(a.kind, b.kind)
    assert int(a.labels.max()) == len(a.kind) - 1
    assert not a.labels[a.classes == NAMES.index("background")].any()
    assert a.rgb.shape == (140, 160, 3)


def test_another_seed_is_another_slide() -> None:
    assert not np.array_equal(histology(128, 128, 1.0, seed=1).rgb, histology(128, 128, 1.0, seed=2).rgb)


@pytest.mark.parametrize(
    "arguments",
    [
        {"rows": 30},
        {"spacing_um": 0.0},
        {"spacing_um": float("nan")},
        {"tumour": -0.1},
        {"tumour": 0.8, "normal": 0.4},
        {"membrane": (0.5, 0.5, 0.5, 0.0)},
        {"pleomorphism": 4},
        {"stain": "PAS"},
        {"mitoses_per_mm2": -1.0},
        {"kind": "lymph-node", "deposits_um": (5000.0,)},
    ],
)
def test_impossible_slides_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        histology(**{"rows": 128, "cols": 128, "spacing_um": 1.0, **arguments})


def test_a_large_slide_is_made_quickly() -> None:
    start = time.process_time()
    phantom = histology(2048, 2048, 0.5, seed=1)
    assert phantom.labels.max() > 1000
    assert time.process_time() - start < 10.0  # about 1.2 s on an idle machine
