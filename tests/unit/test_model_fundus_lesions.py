"""The shipped model `fundus-lesions` is whole, is what its manifest says, and finds what is drawn on phantoms."""

import functools

import numpy as np
import pytest
from scipy import ndimage

from airouter.domain import codes
from phantoms.fundus_lesions import CLASSES, LesionPhantom, lesions
from tests.reference_models import ReferenceModel, ReferenceModelChecks, Tensor

MODEL = ReferenceModel("fundus-lesions")
FIRST = 30_000  # seeds that training never saw


class TestFolder(ReferenceModelChecks):
    model = MODEL
    channels = 3
    classes = CLASSES
    maps = True

    def shows_something(self, expected: Tensor) -> bool:
        """A disc, haemorrhages and hard exudates."""
        maps = dict(zip(CLASSES, expected[0], strict=True))
        return all((maps[name] > 0.5).sum() > 100 for name in ("optic-disc", "haemorrhage", "hard-exudate"))


def test_every_class_has_a_code_of_the_table() -> None:
    known = {(c.value, c.scheme, c.meaning) for c in codes.ALL.values()}
    coded = [c["code"] for c in MODEL.manifest["head"]["classes"]]
    assert {(c["value"], c["scheme"], c["meaning"]) for c in coded} <= known
    assert len({c["value"] for c in coded}) == len(CLASSES)


@functools.cache
def read(seed: int, grade: int = 0, **disease: bool) -> tuple[LesionPhantom, dict[str, np.ndarray]]:
    p = lesions(512, "R" if seed % 2 else "L", FIRST + seed, grade, **disease)  # type: ignore[arg-type]
    maps = MODEL((p.rgb.transpose(2, 0, 1)[None] / 255.0).astype(np.float32))[0]
    return p, dict(zip(CLASSES, maps >= 0.5, strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_the_disc_and_the_fovea_are_found(seed: int) -> None:
    p, found = read(seed, 2)
    for name, at in (("optic-disc", p.disc), ("fovea", p.macula)):
        rows, columns = np.nonzero(found[name])
        assert len(rows) > 50
        middle = np.median(columns) + 0.5, np.median(rows) + 0.5
        assert np.hypot(middle[0] - at[0], middle[1] - at[1]) < 0.3 * p.disc_diameter


def test_most_haemorrhages_of_severe_retinopathy_are_found_and_few_are_seen_in_healthy_eyes() -> None:
    found = drawn = false = 0
    for seed in range(3):
        p, masks = read(seed, 3)
        labels, n = ndimage.label(p.masks["haemorrhage"], np.ones((3, 3)))
        found += len(np.unique(labels[masks["haemorrhage"] & (labels > 0)]))
        drawn += n
        false += int(ndimage.label(read(seed, 0)[1]["haemorrhage"])[1])
    assert found / drawn > 0.8
    assert false <= 6


@pytest.mark.parametrize("disease", ["detachment", "vitreous_haemorrhage"])
def test_a_detachment_and_blood_before_the_retina_are_told_from_an_eye_without(disease: str) -> None:
    name = {"detachment": "retinal-detachment", "vitreous_haemorrhage": "vitreous-haemorrhage"}[disease]
    for seed in range(3):
        p, found = read(seed, 0, **{disease: True})
        both = (found[name] & p.masks[name]).sum()
        assert 2 * both / (found[name].sum() + p.masks[name].sum()) > 0.6
        assert read(seed, 0)[1][name].mean() < 0.005
