"""What the exported model `slide-quality` answers on tissue that training never saw.

Two sets: crops of the real slide's upper rows (the same slide as some of the training, other tissue of it), and real
tiles of the test part (other slides). Every picture is measured clean and with each artefact. The artefacts are those
of training with other numbers, so the figures are of tissue that is new, not of artefacts that are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import common
import cv2
import numpy as np
import numpy.typing as npt
from slide_quality_tiles import (
    CLASSES,
    KINDS,
    MEASURED_UNTIL,
    SIZE,
    UM,
    UNSAID,
    filled,
    labelled,
    real_slide,
    real_tiles,
    standard,
)

from phantoms import artefacts

Answers = npt.NDArray[np.float32]
SLIDE: Final = "CMU-1, rows kept out of training"
TILES: Final = "DSB 2018 tiles, test part"
BLURS: Final = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)  # radius of the disc in um
_SEED: Final = 77
_BINS: Final = 1000


@dataclass
class Pixels:
    """Counts over many pictures. `confusion` [class, answer]; histograms of an artefact's probability for its AUROC."""

    confusion: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((len(CLASSES),) * 2, np.int64))
    scores: dict[str, npt.NDArray[np.int64]] = field(
        default_factory=lambda: {kind: np.zeros((2, _BINS), np.int64) for kind in KINDS}
    )
    clean: list[float] = field(default_factory=list)  # of each clean picture: share of its tissue called an artefact

    def add(self, label: npt.NDArray[np.uint8], answer: Answers, kind: str | None) -> None:
        known = label != UNSAID
        best = answer.argmax(axis=0)
        np.add.at(self.confusion, (label[known], best[known]), 1)
        if kind is None:
            tissue = label == 1
            if tissue.any():
                self.clean.append(float((best[tissue] > 1).mean()))
            return
        number = CLASSES.index(kind)
        bins = np.minimum((answer[number][known] * _BINS).astype(int), _BINS - 1)
        np.add.at(self.scores[kind], ((label[known] == number).astype(int), bins), 1)

    def dice(self, kind: str) -> float:
        n = CLASSES.index(kind)
        return float(2 * self.confusion[n, n] / max(1, self.confusion[n].sum() + self.confusion[:, n].sum()))

    def sensitivity(self, kind: str) -> float:
        """Of the artefact's pixels, those given its class, in %."""
        n = CLASSES.index(kind)
        return float(100 * self.confusion[n, n] / max(1, self.confusion[n].sum()))

    def spoilt(self, kind: str) -> float:
        """Of the artefact's pixels, those given the class of any artefact, in %: what makes tissue unusable."""
        n = CLASSES.index(kind)
        return float(100 * self.confusion[n, 2:].sum() / max(1, self.confusion[n].sum()))

    def auroc(self, kind: str) -> float | None:
        """Of the artefact's probability, over the pixels of pictures with it: in it against beside it.

        None where it covers every picture whole, so that there is nothing beside it.
        """
        if not all(counts.sum() for counts in self.scores[kind]):
            return None
        without, within = (counts / max(1, counts.sum()) for counts in self.scores[kind])
        return float((within * (np.cumsum(without) - 0.5 * without)).sum())


@dataclass
class Figures:
    """Everything the card says. `found_blur`: set to radius in um to % of tissue called out of focus."""

    evidence: list[dict[str, Any]]
    found_blur: Mapping[str, Mapping[float, float]]
    sets: Mapping[str, Pixels]
    patches_per_second: float


def asker(path: Path) -> Any:
    session = common.runner(path, threads=2)

    def ask(rgb: npt.NDArray[np.uint8]) -> Answers:
        given = np.ascontiguousarray(rgb.transpose(2, 0, 1))[None].astype(np.float32) / np.float32(255.0)
        (answer,) = session.run(None, {"image": given})
        return np.asarray(answer[0], np.float32)

    return ask


def crops(data: Path, most: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Parts of the slide's upper rows, at least 40 % of each tissue."""
    slide = real_slide(data)[:MEASURED_UNTIL]
    found = [
        crop
        for row in range(0, slide.shape[0] - SIZE + 1, SIZE // 2)
        for column in range(0, slide.shape[1] - SIZE + 1, SIZE // 2)
        if artefacts.tissue(crop := slide[row : row + SIZE, column : column + SIZE], UM).mean() > 0.4
    ]
    yield from found[:most]


def tiles(data: Path, most: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Real tiles at about 1 um per pixel, mirrored to the size of a patch, in one white."""
    for tile in real_tiles(data, "test")[:most]:
        yield filled(standard(cv2.resize(tile, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), 0.25, 242.0))


def measure(path: Path, data: Path, most: int) -> Figures:
    """Both sets, at most so many pictures of each."""
    ask = asker(path)
    evidence: list[dict[str, Any]] = []
    blurs: dict[str, dict[float, float]] = {}
    sets: dict[str, Pixels] = {}
    for name, pictures in ((SLIDE, list(crops(data, most))), (TILES, list(tiles(data, most)))):
        pixels, rng = Pixels(), np.random.default_rng(_SEED)
        found: dict[float, list[float]] = {radius: [] for radius in BLURS}
        for picture in pictures:
            for kind in (None, *KINDS):
                rgb, label = labelled(picture, (kind,) if kind else (), rng)
                pixels.add(label, ask(rgb), kind)
            for radius in BLURS:
                blurred = artefacts.defocus(picture, UM, radius)
                best = ask(blurred.rgb).argmax(axis=0)
                found[radius].append(float((best[blurred.mask] == CLASSES.index("out-of-focus")).mean()))
        sets[name] = pixels
        blurs[name] = {radius: 100.0 * float(np.mean(values)) for radius, values in found.items()}
        evidence += _evidence(name, pixels, blurs[name], len(pictures))
    rate = speed(path)
    row = {"dataset": "one thread of the CPU", "metric": "patches of 512 x 512 per second", "value": rate, "n": 8}
    return Figures([*evidence, row], blurs, sets, rate)


def _evidence(name: str, pixels: Pixels, blurs: Mapping[float, float], count: int) -> list[dict[str, Any]]:
    def row(metric: str, value: float, n: int = count) -> dict[str, Any]:
        return {"dataset": name, "metric": metric, "value": round(value, 1 if metric.endswith("%") else 3), "n": n}

    rows = [row("clean tissue called an artefact, %", 100.0 * float(np.mean(pixels.clean)))]
    for kind in KINDS:
        rows.append(row(f"{kind}: Dice", pixels.dice(kind)))
        if (auroc := pixels.auroc(kind)) is not None:
            rows.append(row(f"{kind}: AUROC", auroc))
        rows.append(row(f"{kind}: sensitivity, %", pixels.sensitivity(kind)))
    rows += [row(f"called out of focus at a blur of {radius:g} um, %", value) for radius, value in blurs.items()]
    return rows


def speed(path: Path) -> float:
    session = common.runner(path)
    given = np.random.default_rng(0).random((1, 3, 512, 512), np.float32)
    session.run(None, {"image": given})
    start = time.perf_counter()
    for _ in range(8):
        session.run(None, {"image": given})
    return round(8 / (time.perf_counter() - start), 1)
