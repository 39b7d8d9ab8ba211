"""Measure the model `nuclei`, as the product uses it, on what it was not trained on."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import common
import cv2
import numpy as np
import numpy.typing as npt
import torch
from nuclei_tiles import Floats, Labels, Rgb, Tile, recoloured, relabelled, resized
from skimage.segmentation import expand_labels
from torch import nn

from airouter.imaging.nuclei import dab_od, instances, mean_per_label

SPACING_UM: Final = 0.5
NUCLEUS_UM: Final = 8.0  # the diameter that a tile's median nucleus is given where sizes are made comparable

Maps = Callable[[Rgb], Floats]  # image -> 2 x rows x columns


@dataclass(frozen=True)
class Score:
    """Counts at IoU > 0.5 (which pairs nuclei one to one) and means over images."""

    hits: int
    found: int
    true: int
    dice: float
    count_error: float
    images: int

    @property
    def precision(self) -> float:
        return self.hits / max(self.found, 1)

    @property
    def recall(self) -> float:
        return self.hits / max(self.true, 1)

    @property
    def f1(self) -> float:
        return 2 * self.hits / max(self.found + self.true, 1)


def hits_of(found: Labels, true: Labels) -> int:
    """Pairs of nuclei whose intersection over union is above 0.5; no nucleus can be in two such pairs."""
    n, m = int(found.max()) + 1, int(true.max()) + 1
    both = np.bincount(found.ravel().astype(np.int64) * m + true.ravel(), minlength=n * m).reshape(n, m)
    union = both.sum(1, keepdims=True) + both.sum(0, keepdims=True) - both
    return int((both[1:, 1:] > 0.5 * union[1:, 1:]).sum())


def centre_hits_of(found: Labels, true: Labels) -> int:
    """True nuclei that hold the centre of a found one: detection, whatever the outlines."""
    count = int(found.max())
    if count == 0:
        return 0
    rows, cols = np.indices(found.shape, dtype=np.float32)
    row, col = (np.rint(mean_per_label(axis, found)[1:]).astype(int) for axis in (rows, cols))
    held = np.unique(true[row, col])
    return int((held > 0).sum())


def measure(maps: Maps, tiles: Sequence[Tile], **options: Any) -> Score:
    """Score a function image -> 2 x rows x columns on tiles, with the product's own post-processing."""
    hits = found = true = 0
    dices, errors = [], []
    for tile in tiles:
        nucleus, rim = maps(tile.rgb)
        labels = instances(nucleus, rim, spacing_um=SPACING_UM, **options)
        truth = relabelled(tile.labels)
        hits += hits_of(labels, truth)
        found += int(labels.max())
        true += int(truth.max())
        dices.append(2 * ((labels > 0) & (truth > 0)).sum() / max((labels > 0).sum() + (truth > 0).sum(), 1))
        errors.append(abs(int(labels.max()) - int(truth.max())) / max(int(truth.max()), 1))
    return Score(hits, found, true, float(np.mean(dices)), float(np.mean(errors)), len(tiles))


def padded(rgb: Rgb) -> tuple[Floats, tuple[int, int]]:
    """1 x 3 x H x W in 0..1, mirrored out to multiples of 16."""
    rows, cols = rgb.shape[:2]
    wide = np.pad(rgb, ((0, -rows % 16), (0, -cols % 16), (0, 0)), mode="symmetric")
    return (wide.transpose(2, 0, 1)[None] / np.float32(255.0)).astype(np.float32), (rows, cols)


def torch_maps(net: nn.Module, device: torch.device) -> Maps:
    """The net as a function of an image."""

    def maps(rgb: Rgb) -> Floats:
        image, (rows, cols) = padded(rgb)
        net.eval()
        with torch.no_grad():
            out = torch.sigmoid(net(torch.from_numpy(image).to(device)))[0, :, :rows, :cols]
        return np.asarray(out.cpu().numpy())

    return maps


def onnx_maps(path: Path) -> Maps:
    """The first two maps of a shipped file as a function of an image."""
    session = common.runner(path)

    def maps(rgb: Rgb) -> Floats:
        image, (rows, cols) = padded(rgb)
        return np.asarray(session.run(["maps"], {"image": image})[0][0, :2, :rows, :cols])

    return maps


def speed(path: Path) -> float:
    """Patches of 256 x 256 per second on one thread."""
    session = common.runner(path)
    batch = np.random.default_rng(0).random((8, 3, 256, 256), dtype=np.float32)
    session.run(None, {"image": batch})
    times = []
    for _ in range(5):
        start = time.perf_counter()
        session.run(None, {"image": batch})
        times.append(time.perf_counter() - start)
    return 8.0 / float(np.median(times))


def ihc_panel(path: Path, truth: Path | None) -> tuple[Rgb, Labels, npt.NDArray[np.bool_]]:
    """A panel of the IHC test data at 0.5 um: image, nuclei and which of them are positive (red in the truth).

    The truth draws a nucleus red or blue and its outline green.
    """
    strip = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    colours = strip[:, -512:] if truth is None else cv2.cvtColor(cv2.imread(str(truth)), cv2.COLOR_BGR2RGB)
    half = cv2.resize(strip[:, :512], (256, 256), interpolation=cv2.INTER_AREA)
    red, green, blue = (colours[..., i] > 128 for i in range(3))
    count, cores = cv2.connectedComponents(((red | blue) & ~green).astype(np.uint8), connectivity=4)
    share = mean_per_label(red.astype(np.float32), cores.astype(np.int32))
    area = np.bincount(cores.ravel(), minlength=count)
    cores[(area < 30)[cores]] = 0
    whole = expand_labels(cores, 3) * (red | green | blue)
    small = cv2.resize(whole.astype(np.float32), (256, 256), interpolation=cv2.INTER_NEAREST).astype(np.int32)
    kept = [k for k in np.unique(small).tolist() if k]
    number = np.zeros(count, np.int32)
    number[kept] = np.arange(1, len(kept) + 1)
    positive = np.concatenate([[False], share[kept] > 0.5])
    return np.asarray(half, np.uint8), number[small], positive


def choose_dab_threshold(tiles: Sequence[Tile], seed: int) -> tuple[float, float]:
    """The mean DAB density that best parts positive from negative nuclei of recoloured training tiles.

    Returns:
        threshold (rounded to 0.01) and the balanced accuracy reached.
    """
    rng = np.random.default_rng((seed, 7))
    means, truth = [], []
    for _ in range(4):
        for tile in tiles:
            labels = relabelled(tile.labels)
            rgb, positive = recoloured(tile.rgb, labels, "H-DAB", rng)
            means.append(mean_per_label(dab_od(rgb), labels)[1:])
            truth.append(positive[1:])
    value, positive = np.concatenate(means), np.concatenate(truth)
    steps = np.arange(0.05, 0.5, 0.01)
    scores = [((value[positive] >= s).mean() + (value[~positive] < s).mean()) / 2 for s in steps]
    best = int(np.argmax(scores))
    return round(float(steps[best]), 2), float(scores[best])


def normalised(tile: Tile) -> Tile:
    """The tile scaled so that its median nucleus is as wide as at the model's spacing."""
    rgb, labels = resized(tile, NUCLEUS_UM / SPACING_UM / tile.diameter)
    return Tile(tile.id, rgb, labels, NUCLEUS_UM / SPACING_UM)


def in_dab(tile: Tile, seed: int) -> tuple[Tile, npt.NDArray[np.bool_]]:
    """The tile recoloured to H-DAB, always the same way."""
    labels = relabelled(tile.labels)
    rng = np.random.default_rng((seed, int(tile.id, 16)))
    rgb, positive = recoloured(tile.rgb, labels, "H-DAB", rng)
    return Tile(tile.id, rgb, labels, tile.diameter), positive


def index_of(rgb: Rgb, labels: Labels, threshold: float) -> tuple[int, int]:
    """Positive and total nuclei."""
    means = mean_per_label(dab_od(rgb), labels)[1:]
    return int((means >= threshold).sum()), len(means)


IHC: Sequence[tuple[str, str | None]] = (
    ("val__Lung1.png", None),
    ("val__Bladder1.png", None),
    ("test__22_2.png", "test_groundtruth__22_2.png"),
)


def evidence_of(path: Path, test: Sequence[Tile], data: Path, threshold: float, seed: int) -> list[dict[str, Any]]:
    """Every figure of the card, measured on the file that is shipped."""
    maps = onnx_maps(path)
    rows: list[dict[str, Any]] = []

    def add(dataset: str, metric: str, value: float, n: int, digits: int = 3) -> None:
        rows.append({"dataset": dataset, "metric": metric, "value": round(float(value), digits), "n": n})

    dab = [in_dab(tile, seed) for tile in test]
    sets = (
        ("DSB 2018 H&E tiles, held out, as published", list(test)),
        ("DSB 2018 H&E tiles, held out, scaled to 8 um nuclei", [normalised(t) for t in test]),
        ("DSB 2018 H&E tiles, held out, recoloured to H-DAB", [tile for tile, _ in dab]),
        ("DSB 2018 H&E tiles, held out, scaled to 8 um nuclei, recoloured", [normalised(t) for t, _ in dab]),
    )
    for name, tiles in sets:
        score = measure(maps, tiles)
        add(name, "precision at IoU 0.5", score.precision, score.true)
        add(name, "recall at IoU 0.5", score.recall, score.true)
        add(name, "F1 at IoU 0.5", score.f1, score.true)
        add(name, "Dice of the nucleus mask, mean over tiles", score.dice, score.images)
        add(name, "relative count error, mean over tiles", score.count_error, score.images)
    errors = []
    for tile, positive in dab:
        nucleus, rim = maps(tile.rgb)
        stained, total = index_of(tile.rgb, instances(nucleus, rim, spacing_um=SPACING_UM), threshold)
        if total:
            errors.append(abs(100 * stained / total - 100 * positive[1:].mean()))
    add(
        sets[2][0],
        "absolute error of the positive index, mean over tiles, percentage points",
        np.mean(errors),
        len(errors),
        1,
    )
    for name, truth in IHC:
        strip = data / "ihc" / name
        if not strip.exists():
            print(f"{strip} is absent: not measured")
            continue
        rgb, labels, positive = ihc_panel(strip, None if truth is None else data / "ihc" / truth)
        nucleus, rim = maps(rgb)
        found = instances(nucleus, rim, spacing_um=SPACING_UM)
        hits, n, m = hits_of(found, labels), int(found.max()), int(labels.max())
        stained, total = index_of(rgb, found, threshold)
        counts = strip.with_suffix(".json")
        percent, counted = 100 * float(positive[1:].mean()), m
        if counts.exists():
            said = json.loads(counts.read_text())
            percent, counted = said["percent_pos"], said["num_total"]
        dataset = f"DeepLIIF Ki-67 panel {strip.stem}, taken as 0.25 um/px"
        add(dataset, "F1 at IoU 0.5", 2 * hits / max(n + m, 1), m)
        add(dataset, "F1 of centres within true nuclei", 2 * centre_hits_of(found, labels) / max(n + m, 1), m)
        add(dataset, "nuclei found", total, m, 0)
        add(dataset, "Ki-67 index, percent", 100 * stained / max(total, 1), total, 1)
        add(dataset, "Ki-67 index of the ground truth, percent", percent, counted, 1)
        add(dataset, "error of the Ki-67 index, percentage points", 100 * stained / max(total, 1) - percent, total, 1)
    return rows
