"""8-bit weights beside float32 ones inside Orthanc: the same slide, the same router, taking turns."""

import shutil
import statistics
from typing import Final

from benchmark import models, slides
from benchmark.archive import Archive
from benchmark.figure import Figure, Options
from benchmark.quantised import quantised_folder

GROUP: Final = "quantised, inside Orthanc"

_SIDE, _QUICK_SIDE = 8192, 4096
_KINDS: Final[tuple[models.Kind, ...]] = ("mobilenet_v2", "resnet18")
_TARGET: Final = 1.4


def measure(options: Options) -> list[Figure]:
    """For each model the ratio of speeds from the stored slide to the predictions, and both speeds."""
    folder = options.work / "int8"
    made = folder / "models"
    slide = slides.slide(slides.Spec(_QUICK_SIDE if options.quick else _SIDE), slides.CACHE)
    files = slide.write(folder / "calibration", number=options.repeats + 1)
    pairs = {}
    for kind in _KINDS:
        plain = models.folder(kind, made, workers=options.threads)
        pairs[kind] = plain.name, quantised_folder(plain, files).name
    figures: list[Figure] = []
    with Archive(options, folder, made, {"QuantizedModels": [eight for _, eight in pairs.values()]}) as archive:
        studies = [archive.store(slide, number) for number in range(options.repeats + 1)]
        archive.restart()
        for kind, names in pairs.items():
            figures += _figures(kind, names, archive, studies)
    shutil.rmtree(folder, ignore_errors=True)
    return figures


def _figures(kind: models.Kind, names: tuple[str, str], archive: Archive, studies: list[str]) -> list[Figure]:
    for name in names:
        archive.analyse(studies[0], name)
    rates: tuple[list[float], list[float]] = ([], [])
    for number, study in enumerate(studies[1:]):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            rates[which].append(archive.analyse(study, names[which]).rate)
    ratios = tuple(eight / plain for plain, eight in zip(*rates, strict=True))
    title = models.TITLES[kind]
    return [
        Figure(
            GROUP,
            f"{title}: 8-bit relative to float32, from the stored slide to the predictions",
            statistics.median(ratios),
            "1",
            "least",
            _TARGET,
            ratios,
        ),
        *(
            Figure(GROUP, f"{title}: {which}", statistics.median(samples), "{patches}/s", samples=tuple(samples))
            for which, samples in zip(("float32", "8-bit"), rates, strict=True)
        ),
    ]
