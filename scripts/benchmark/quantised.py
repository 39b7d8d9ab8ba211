"""8-bit weights beside the float32 ones they were made of: the same slide, the same threads, taking turns.

Time runs from the slide's files to the prediction of the last tissue patch: slicing, decoding, normalising, running.
What a network with random weights answers means nothing; that both answer alike is told beside the speed.
"""

import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import yaml

from airouter.adapters.files import LocalFiles
from airouter.inference import manifest
from airouter.inference.repository import ModelRepository
from airouter.ports import Predictor
from airouter.services import quantise
from airouter.services.pictures import Picture, pictures_for
from benchmark import crew, models, slides
from benchmark.figure import Figure, Options

GROUP: Final = "quantised"

_SIDE, _QUICK_SIDE = 8192, 4096
_KINDS: Final[tuple[models.Kind, ...]] = ("mobilenet_v2", "resnet18")
_TARGET: Final = 1.4
_TOLERANCE: Final = 0.5  # decisions of random weights may be close ones; what is measured here is speed


def measure(options: Options) -> list[Figure]:
    """For each model the ratio of speeds, both speeds, and how far the decisions agree."""
    where = options.work / GROUP
    figures: list[Figure] = []
    try:
        made = slides.slide(slides.Spec(_QUICK_SIDE if options.quick else _SIDE), slides.CACHE)
        files = made.write(where / "slide")
        for kind in _KINDS:
            folder = models.folder(kind, where / "models")
            figures += _figures(kind, folder, files, options)
    finally:
        shutil.rmtree(where, ignore_errors=True)
    return figures


def quantised_folder(folder: Path, images: Sequence[Path]) -> Path:
    """A copy of a model folder beside it, named <name>-int8, with 8-bit weights made of and checked on DICOM files.

    The copy runs with them where `AIRouter.QuantizedModels` (or ModelRepository's `quantized`) names it.
    RuntimeError where they agree with the float32 weights less than random weights may.
    """
    return _quantised(folder, images)[0]


def _quantised(folder: Path, images: Sequence[Path]) -> tuple[Path, quantise.Outcome]:
    other = folder.with_name(f"{folder.name}-int8")
    shutil.copytree(folder, other, dirs_exist_ok=True)
    content = yaml.safe_load((other / manifest.FILE).read_text(encoding="utf-8"))
    content |= {"name": other.name, "quantization": {"tolerance": _TOLERANCE}}
    (other / manifest.FILE).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    outcome = quantise.make(other, LocalFiles(images))
    if not outcome.written:
        raise RuntimeError(f"{other.name}: the decisions agree in {outcome.agreement:.3f} of the patches only")
    return other, outcome


def _figures(kind: models.Kind, folder: Path, files: Sequence[Path], options: Options) -> list[Figure]:
    title = models.TITLES[kind]
    other, outcome = _quantised(folder, files)
    repository = ModelRepository(folder.parent, configured=(options.provider,), quantized=(other.name,))
    both = [repository.get(f.name) for f in (folder, other)]
    pictures = pictures_for(both[0].model, LocalFiles(files)).pictures
    for predictor in both:
        rate(predictor, pictures[: 8 * predictor.model.input.batch], options.threads)
    rates: tuple[list[float], list[float]] = ([], [])
    for number in range(options.repeats):
        for which in (0, 1) if number % 2 else (1, 0):
            # A slide keeps the tiles it decoded: it is opened anew, or only the first of the two would read it.
            fresh = pictures_for(both[which].model, LocalFiles(files)).pictures
            rates[which].append(rate(both[which], fresh, options.threads))
    ratios = tuple(b / a for a, b in zip(*rates, strict=True))
    return [
        Figure(
            GROUP,
            f"{title}: 8-bit relative to float32, from the slide's files to the predictions",
            statistics.median(ratios),
            "1",
            "least",
            _TARGET,
            ratios,
            extra={"patches": len(pictures)},
        ),
        *(
            Figure(GROUP, f"{title}: {name}", statistics.median(samples), "{patches}/s", samples=tuple(samples))
            for name, samples in zip(("float32", "8-bit"), rates, strict=True)
        ),
        Figure(
            GROUP,
            f"{title}: patches with the same decision in 8 bits",
            outcome.agreement,
            "1",
            detail=f"random weights, {outcome.checked} patches",
        ),
        Figure(GROUP, f"{title}: size of the weights relative to float32", outcome.bytes[1] / outcome.bytes[0], "1"),
    ]


def rate(predictor: Predictor, pictures: Sequence[Picture], threads: int) -> float:
    """Patches per second: each thread takes the next batch, reads it and runs it."""
    size = predictor.model.input.batch
    batches = [pictures[start : start + size] for start in range(0, len(pictures), size)]

    def work(number: int) -> None:
        predictor.predict([picture() for picture in batches[number]])

    return len(pictures) / crew.seconds(work, len(batches), threads)
