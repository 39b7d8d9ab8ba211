"""Which kind of cell a nucleus is: the highest mean probability over its pixels, if it reaches the threshold."""

import dataclasses

import numpy as np
import pytest

from airouter.domain.model import HeadKind
from airouter.domain.study import Modality
from airouter.pipelines.nuclei_of_slide import count
from airouter.pipelines.pipeline import Parameter, Values
from airouter.pipelines.tissue_region import tissue_region
from phantoms.dicom import slide_instances
from tests.pipelines.oracle import Progress, Seen, job, model, opened

PARAMETERS = (Parameter("min_area_um2", 8.0, "um2", ""), Parameter("workers", None, "1", ""))
ASKED = ("tumour", "lymphocyte", "stromal", "normal")


def kinds(channels, thresholds=None, asked=ASKED):
    """The kind of one nucleus of 10 x 10 pixels, whose maps are `channels`: a number, or its left and right half."""
    rgb = np.full((200, 200, 3), (150, 90, 180), np.uint8)
    rgb[100:110, 100:110] = (60, 30, 120)
    slide = opened(slide_instances(rgb, 1.0, levels=1, transfer="raw", seed=1))
    made = model(
        Modality.SM,
        HeadKind.SEGMENTATION,
        ("nucleus", "boundary", *channels),
        size=(256, 256),
        overlap=16,
        spacing_um=1.0,
    )
    limits = {"nucleus": 0.5, **(thresholds or {})}
    classes = tuple(dataclasses.replace(each, threshold=limits.get(each.name, 0.5)) for each in made.head.classes)
    made = dataclasses.replace(made, head=dataclasses.replace(made.head, classes=classes))

    def maps(image):
        nucleus = image[..., 0] == 60
        found = [nucleus, np.zeros_like(nucleus)]
        half = np.cumsum(nucleus, axis=1) > 5
        for value in channels.values():
            left, right = value if isinstance(value, tuple) else (value, value)
            found.append(np.where(nucleus, np.where(half, right, left), 0.0))
        return np.stack([each.astype(np.float32) for each in found])

    region = tissue_region(slide, made)
    values = Values(PARAMETERS, made, job())
    return count(region.plan, Seen(made, maps), values, False, Progress(), asked).kind.tolist()


@pytest.mark.parametrize(
    ("channels", "kind"),
    [
        ({}, -1),
        ({"tumour": 0.9}, 0),
        ({"normal": 0.9, "stromal": 0.6}, 3),  # by name, not by the order of the model
        ({"stromal": 0.9, "normal": 0.95}, 3),
        ({"tumour": 0.4, "lymphocyte": 0.45}, -1),
        ({"tumour": 0.7, "lymphocyte": 0.7}, 0),  # the earlier of equals
        ({"tumour": (1.0, 0.0), "lymphocyte": (0.4, 0.8)}, 1),  # 0.5 and 0.6 on average
        ({"macrophage": 1.0}, -1),  # nobody asked for it
    ],
)
def test_the_highest_mean_wins(channels, kind):
    assert kinds(channels) == [kind]


def test_a_class_has_its_own_threshold_which_is_reached_by_its_equal():
    assert kinds({"tumour": 0.7}, {"tumour": 0.7}) == [0]
    assert kinds({"tumour": 0.69}, {"tumour": 0.7}) == [-1]
    # the winner must reach it: another that would does not take its place
    assert kinds({"tumour": 0.69, "lymphocyte": 0.6}, {"tumour": 0.7}) == [-1]


def test_other_kinds_can_be_asked_for():
    assert kinds({"tumour": 0.9, "macrophage": 0.8}, asked=("macrophage",)) == [0]
    assert kinds({"tumour": 0.9}, asked=()) == [-1]
