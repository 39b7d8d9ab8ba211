"""Predictors that know the truth, and phantoms opened the way the router opens them."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from airouter.domain.code import Code
from airouter.domain.job import Job
from airouter.domain.model import Fit, Head, HeadKind, Model, ModelClass, ModelInput, Reads
from airouter.domain.priority import Verdict
from airouter.domain.study import SOURCE_SOP_CLASSES, Instance, Modality
from airouter.imaging.frames import dataset_frames
from airouter.imaging.reader import open_images
from tests import samples

LAYERS = ("vitreous", "retina", "fluid", "below")


def job(pipeline: str = "p", **parameters: Any) -> Job:
    return samples.job(pipeline=pipeline, parameters=parameters)


def model(
    modality: Modality,
    kind: HeadKind,
    classes: Sequence[str],
    *,
    size: tuple[int, int] = (256, 256),
    fit: Fit = Fit.TILE,
    spacing_um: float | None = None,
    channels: int = 3,
    overlap: int = 32,
    batch: int = 4,
    parameters: Mapping[str, Any] | None = None,
    stains: tuple[str, ...] = (),
    laterality_required: bool = False,
    exclusive: bool = False,
    threshold: float = 0.5,
    codeless: Sequence[str] = (),
) -> Model:
    coded = tuple(
        ModelClass(name, None if name in codeless else Code(name[:16], "99TEST", name), threshold) for name in classes
    )
    return samples.model(
        reads=Reads(modality, (), stains, laterality_required),
        input=ModelInput(
            "x", "NCHW", channels, "RGB" if channels == 3 else "GRAY", size, spacing_um, fit, overlap, batch=batch
        ),
        head=Head(kind, "y", classes=coded, exclusive=exclusive),
        parameters=parameters or {},
    )


def rests_on(verdict: Verdict) -> list[str]:
    """Keys of the findings that what decides a verdict rests on."""
    return sorted({key for g in verdict.grounds if g.priority is verdict.priority for key in g.findings})


def _key(image: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


class Oracle:
    """Answers each image it has been told of with its truth; another image is a mistake of the test."""

    provider = "TruthExecutionProvider"

    def __init__(self, about: Model) -> None:
        self.model = about
        self._truth: dict[str, np.ndarray] = {}

    def tell(self, image: np.ndarray, answer: np.ndarray) -> None:
        key = _key(image)
        assert key not in self._truth or np.array_equal(self._truth[key], answer), "two truths for one image"
        self._truth[key] = answer.astype(np.float32)

    def predict(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([self._truth[_key(image)] for image in images])


def opened(datasets: Sequence[Any]) -> Any:
    """What `open_images` makes of data sets in memory."""
    by_id = {f"id-{n}": ds for n, ds in enumerate(datasets)}
    headers = [
        (Instance(id, str(ds.SOPInstanceUID), str(ds.SOPClassUID), str(ds.SeriesInstanceUID), "1.2", "digest"), ds)
        for id, ds in by_id.items()
    ]
    modality = SOURCE_SOP_CLASSES[str(datasets[0].SOPClassUID)]
    return open_images(modality, headers, lambda id, numbers: dataset_frames(by_id[id], numbers))


def value(result: Any, key: str, name: Code) -> float:
    """The only measurement of a name in a finding."""
    (finding,) = [f for f in result.findings if f.key == key]
    (found,) = [m.value for m in finding.measurements if m.name == name]
    return float(found)


def names(result: Any, key: str) -> set[Code]:
    (finding,) = [f for f in result.findings if f.key == key]
    return {m.name for m in finding.measurements}


def reasons(result: Any) -> dict[str, str]:
    return {n.quantity: n.reason for n in result.not_analysed}


class Seen:
    """Answers by what a patch shows: `answer(image)` gives the answer for one image."""

    provider = "SeenExecutionProvider"

    def __init__(self, about: Model, answer: Callable[[np.ndarray], np.ndarray]) -> None:
        self.model = about
        self._answer = answer

    def predict(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([self._answer(image) for image in images]).astype(np.float32)


class Progress:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int, str]] = []

    def __call__(self, done: int, total: int, unit: str) -> None:
        self.told.append((done, total, unit))
