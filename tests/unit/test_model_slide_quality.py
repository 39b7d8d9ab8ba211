"""The shipped model `slide-quality` is whole and is what its manifest says."""

from tests.reference_models import ReferenceModel, ReferenceModelChecks, Tensor

MODEL = ReferenceModel("slide-quality")
CLASSES = (
    "background", "in-focus", "out-of-focus", "folded", "understained", "overstained", "slide-marking", "air-bubble",
    "coverslip-edge", "stripes",
)  # fmt: skip


class TestFolder(ReferenceModelChecks):
    model = MODEL
    channels = 3
    any_size = True
    classes = CLASSES
    maps = True

    def shows_something(self, expected: Tensor) -> bool:
        """Tissue in focus, and tissue out of focus."""
        best = expected[0].argmax(axis=0)
        return bool((best == 1).mean() > 0.01 and (best == 2).mean() > 0.01)
