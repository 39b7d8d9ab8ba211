"""The shipped model `slide-embedding` is whole, is what its manifest says, and calls alike what was drawn alike."""

import numpy as np

from phantoms.slide import slide
from tests.reference_models import ReferenceModel, ReferenceModelChecks, Tensor

MODEL = ReferenceModel("slide-embedding")
VALUES = 64
LEAST_SAME_KIND = 0.9  # of the nearest others; by chance 0.23


class TestFolder(ReferenceModelChecks):
    model = MODEL
    channels = 3
    classes = ()
    maps = False

    def shows_something(self, expected: Tensor) -> bool:
        """Not the vector of an empty field."""
        plain = MODEL(np.ones((1, 3, *MODEL.size), np.float32))
        return bool(float((expected[0] * plain[0]).sum()) < 0.9)

    def test_input_and_output_are_those_of_the_manifest(self) -> None:
        """In place of the classes that other models have: unit vectors, each of its own picture alone."""
        manifest, size = MODEL.manifest, MODEL.size
        (given,), (made,) = MODEL.session.get_inputs(), MODEL.session.get_outputs()
        assert (given.name, given.type) == (manifest["input"]["name"], "tensor(float)")
        assert isinstance(given.shape[0], str)  # any number of images
        assert given.shape[1:] == [3, *size]
        assert made.name == manifest["head"]["output"]
        assert (manifest["head"]["kind"], manifest["head"]["classes"]) == ("embedding", [])
        pictures = np.random.default_rng(0).random((5, 3, *size), dtype=np.float32)
        together = MODEL(pictures)
        assert together.shape == (5, VALUES)
        assert together.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-4)
        np.testing.assert_allclose(MODEL(pictures[2:3])[0], together[2], atol=1e-4)


def fields(density: float, stain: str, positive: float, seeds: range) -> list[np.ndarray]:
    side, edge = MODEL.size[0], 40
    drawn = [slide(side + 2 * edge, side + 2 * edge, 1.0, stain, density, positive, seed) for seed in seeds]  # type: ignore[arg-type]
    return [one.rgb[edge:-edge, edge:-edge].transpose(2, 0, 1).astype(np.float32) / 255.0 for one in drawn]


def test_fields_of_one_kind_lie_together() -> None:
    kinds = [(600.0, "H&E", 0.0), (4500.0, "H&E", 0.0), (1800.0, "H-DAB", 0.0), (1800.0, "H-DAB", 0.8)]
    pictures = [each for n, kind in enumerate(kinds) for each in fields(*kind, range(70_000 + 10 * n, 70_010 + 10 * n))]
    vectors = MODEL(np.stack(pictures))
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    label = np.repeat(np.arange(len(kinds)), 10)
    nearest = np.argsort(-similarity, axis=1)[:, :3]
    assert float((label[nearest] == label[:, None]).mean()) >= LEAST_SAME_KIND


def test_a_field_is_alike_however_it_is_turned() -> None:
    pictures = np.stack([p for d in (600.0, 2000.0, 6000.0) for p in fields(d, "H&E", 0.0, range(80_000, 80_004))])
    turned = np.rot90(pictures, axes=(2, 3)).copy()
    similarity = MODEL(turned) @ MODEL(pictures).T
    assert float(np.diag(similarity).min()) > 0.8
    assert float((similarity.argmax(axis=1) // 4 == np.arange(len(pictures)) // 4).mean()) >= LEAST_SAME_KIND
