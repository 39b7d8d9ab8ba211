"""The shipped model `nuclei` is whole, is what its manifest says, and finds nuclei."""

import numpy as np
import numpy.typing as npt
import pytest

from airouter.imaging.nuclei import dab_od, instances, mean_per_label
from phantoms.slide import SlidePhantom, Stain, slide
from tests.reference_models import ReferenceModel, ReferenceModelChecks, Tensor

MODEL = ReferenceModel("nuclei")
COUNT_TOLERANCE = 0.10  # relative error of the count on a phantom
LEAST_F1 = 0.85  # at IoU 0.5 on a phantom
INDEX_TOLERANCE = 5.0  # percentage points of the positive index on a phantom


class TestFolder(ReferenceModelChecks):
    model = MODEL
    channels = 3
    any_size = True
    classes = ("nucleus", "boundary")
    maps = True

    def shows_something(self, expected: Tensor) -> bool:
        return bool((expected[:, 0] > 0.5).mean() > 0.05)


def maps(rgb: npt.NDArray[np.uint8]) -> Tensor:
    return MODEL((rgb.transpose(2, 0, 1)[None] / 255.0).astype(np.float32))[0]


def hits(found: npt.NDArray[np.int32], true: npt.NDArray[np.int32]) -> int:
    """Nuclei found with an intersection over union above 0.5, which pairs them one to one."""
    both = np.zeros((found.max() + 1, true.max() + 1), np.int64)
    np.add.at(both, (found.ravel(), true.ravel()), 1)
    union = both.sum(1, keepdims=True) + both.sum(0, keepdims=True) - both
    return int((both[1:, 1:] > 0.5 * union[1:, 1:]).sum())


@pytest.mark.parametrize("stain", ["H&E", "H-DAB"])
@pytest.mark.parametrize("seed", [101, 102])
def test_nuclei_of_a_phantom_are_counted(stain: Stain, seed: int) -> None:
    phantom: SlidePhantom = slide(512, 512, MODEL.manifest["input"]["spacing_um"], stain, 2500, 0.3, seed)
    nucleus, boundary = maps(phantom.rgb)
    labels = instances(nucleus, boundary, spacing_um=phantom.spacing_um)
    found, true = int(labels.max()), int(phantom.labels.max())
    assert true > 80
    assert abs(found - true) <= COUNT_TOLERANCE * true
    assert 2 * hits(labels, phantom.labels) / (found + true) >= LEAST_F1
    if stain == "H-DAB":
        means = mean_per_label(dab_od(phantom.rgb), labels)[1:]
        index = 100 * (means >= MODEL.manifest["parameters"]["dab_threshold"]).mean()
        assert abs(index - 100 * phantom.positive[1:].mean()) <= INDEX_TOLERANCE


def test_glass_holds_no_nuclei() -> None:
    for level in (255, 235):
        nucleus, _ = maps(np.full((256, 256, 3), level, np.uint8))
        assert nucleus.max() < 0.5


def test_neighbouring_patches_do_not_change_each_other() -> None:
    patches = np.stack([slide(256, 256, 0.5, stain, seed=7).rgb for stain in ("H&E", "H-DAB")])
    batch = (patches.transpose(0, 3, 1, 2) / 255.0).astype(np.float32)
    alone = np.concatenate([MODEL(batch[i : i + 1]) for i in range(2)])
    assert np.abs(MODEL(batch) - alone).max() < 1e-4


def test_the_card_tells_the_threshold() -> None:
    assert f"`dab_threshold` {MODEL.manifest['parameters']['dab_threshold']}" in MODEL.card


def test_held_out_h_and_e_reaches_a_useful_f1() -> None:
    measured = {row["dataset"]: row["value"] for row in MODEL.manifest["evidence"] if row["metric"] == "F1 at IoU 0.5"}
    assert min(v for name, v in measured.items() if "held out" in name) > 0.5
