"""How memory grows with the slide: the same model on a slide of 8192 and on one of 32768 px, sixteen times the pixels.

A fresh Orthanc has its models loaded and tested and waits: that is idle. It analyses a small slide, so that code and
buffers needed once are there, then the slide that is measured; the peak is the kernel's high-water mark of the resident
set from the second job's request to its end, the writing of the result included. Told beside the figure: the
same over what is resident after the small slide, where everything that does not depend on the slide is left out.
Sizes take turns, each time in a process of its own.
"""

import shutil
import statistics
from dataclasses import dataclass
from typing import Final

from benchmark import models, slides
from benchmark.archive import Archive
from benchmark.figure import Figure, Options
from benchmark.process import peak_mb, reset_peak, rss_mb

GROUP: Final = "memory"

_SIDES, _QUICK_SIDES = (8192, 32768), (2048, 8192)
_SMALL: Final = 2048
_KIND: Final[models.Kind] = "mobilenet_v2"
_QUICK_KIND: Final[models.Kind] = "mobilenet_v2_035"
_TARGET: Final = 1.10
_MOST_REPEATS: Final = 3  # a slide of 32768 px takes a while, and memory varies less than time


@dataclass(frozen=True, slots=True)
class Sample:
    """Resident memory in MB: idle, after the small slide, and at the peak of the measured one."""

    idle: float
    warm: float
    peak: float


def measure(options: Options) -> list[Figure]:
    """Peak over idle of both sizes, and by how much it grows."""
    kind, sides = (_QUICK_KIND, _QUICK_SIDES) if options.quick else (_KIND, _SIDES)
    repeats = min(options.repeats, _MOST_REPEATS)
    samples: dict[int, list[Sample]] = {side: [] for side in sides}
    folder = options.work / GROUP
    made = folder / "models"
    models.folder(kind, made, workers=options.threads)
    small = slides.slide(slides.Spec(_SMALL, seed=1), slides.CACHE)
    measured = {side: slides.slide(slides.Spec(side), slides.CACHE) for side in sides}
    with Archive(options, folder, made) as archive:
        for repeat in range(repeats):
            order = sides if repeat % 2 == 0 else sides[::-1]
            for side in order:
                warming = archive.store(small, len(order) * repeat + order.index(side))
                study = archive.store(measured[side], repeat)
                archive.restart()
                samples[side].append(_sample(archive, warming, study, models.name_of(kind)))
    shutil.rmtree(folder, ignore_errors=True)
    return _figures(sides, samples)


def _sample(archive: Archive, small: str, study: str, model: str) -> Sample:
    pid = archive.process.pid
    idle = rss_mb(pid)
    archive.analyse(small, model)
    warm = rss_mb(pid)
    reset_peak(pid)
    archive.analyse(study, model)
    return Sample(idle, warm, peak_mb(pid))


def _figures(sides: tuple[int, int], samples: dict[int, list[Sample]]) -> list[Figure]:
    first, last = (samples[side] for side in sides)
    named = f"slide side {sides[0]} to {sides[1]} px"
    growth = tuple((b.peak - b.idle) / (a.peak - a.idle) for a, b in zip(first, last, strict=True))
    added = tuple(b.peak - b.warm - (a.peak - a.warm) for a, b in zip(first, last, strict=True))
    figures = [
        Figure(
            GROUP,
            f"peak over idle, {named}, grows to",
            statistics.median(growth),
            "1",
            "most",
            _TARGET,
            growth,
            extra={str(side): [[s.idle, s.warm, s.peak] for s in samples[side]] for side in sides},
        ),
        Figure(GROUP, f"added to the peak, {named}", statistics.median(added), "MB", samples=added),
    ]
    for side in sides:
        over = tuple(s.peak - s.idle for s in samples[side])
        warm = statistics.median(s.peak - s.warm for s in samples[side])
        idle = statistics.median(s.idle for s in samples[side])
        figures.append(
            Figure(
                GROUP,
                f"peak over idle, {side} px",
                statistics.median(over),
                "MB",
                samples=over,
                detail=f"idle {idle:.0f} MB; over what a small slide leaves resident {warm:.0f} MB",
            )
        )
    return figures
