"""What `fundus-lesions` finds, measured on the exported file: per pixel, per lesion, and on real photographs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import common
import cv2
import numpy as np
from fundus_lesions_samples import CLASSES, SIZE, Masks, Rgb, letterbox
from numpy.typing import NDArray
from scipy import ndimage

GENERATED = "generated photographs, held-out seeds"
SPOTS = ("microaneurysm", "haemorrhage", "hard-exudate", "soft-exudate", "neovascularisation")
WIDE = ("retinal-detachment", "vitreous-haemorrhage")
LEAST_SHARE = 0.005  # of the picture, from which a detachment or a cloud of blood counts as there
_EIGHT = np.ones((3, 3))

# Disc and fovea (x, y) as fractions of width and height, read by eye; None where the photograph is too poor.
PHOTOGRAPHS: dict[str, tuple[tuple[float, float], tuple[float, float]] | None] = {
    "drimdb_example.jpg": ((0.54, 0.56), (0.22, 0.60)),
    "example1.jpg": ((0.26, 0.50), (0.68, 0.52)),
    "example2.jpg": ((0.15, 0.48), (0.55, 0.51)),
    "fundus1.jpg": None,
    "retina.jpg": ((0.16, 0.46), (0.50, 0.50)),
}


def answers(path: Path, pictures: Iterable[Rgb]) -> Iterator[NDArray[np.float32]]:
    """Maps [10, 512, 512] of each picture [512, 512, 3]."""
    session = common.runner(path)
    for rgb in pictures:
        tensor = (rgb.transpose(2, 0, 1)[None] / np.float32(255.0)).astype(np.float32)
        yield np.asarray(session.run(None, {"image": tensor})[0][0])


def _row(dataset: str, metric: str, value: float, n: int) -> dict[str, Any]:
    return {"dataset": dataset, "metric": metric, "value": round(float(value), 3), "n": n}


def touched(a: Masks, b: Masks) -> tuple[int, int]:
    """Of the separate regions of `a`: how many share a pixel with `b`, and how many there are."""
    labels, n = ndimage.label(a, _EIGHT)
    return len(np.unique(labels[b & (labels > 0)])), int(n)


def middle(mask: Masks) -> NDArray[np.float64] | None:
    """Middle (x, y) of the largest region; None where there is none."""
    labels, n = ndimage.label(mask, _EIGHT)
    if not n:
        return None
    largest = 1 + int(np.argmax(ndimage.sum_labels(mask, labels, range(1, n + 1))))
    rows, columns = np.nonzero(labels == largest)
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5])


def _height(mask: Masks) -> int:
    return int(np.ptp(np.nonzero(mask)[0])) + 1 if mask.any() else 0


def measured(path: Path, pictures: Sequence[Rgb], packed: Sequence[NDArray[np.uint8]]) -> list[dict[str, Any]]:
    """Rows of evidence on generated pictures with their packed masks."""
    truth = [np.unpackbits(masks, axis=2).astype(bool) for masks in packed]
    found = [maps >= 0.5 for maps in answers(path, pictures)]
    rows = []
    for k, name in enumerate(CLASSES):
        both = sum(int((f[k] & t[k]).sum()) for f, t in zip(found, truth, strict=True))
        each = sum(int(f[k].sum() + t[k].sum()) for f, t in zip(found, truth, strict=True))
        shown = sum(bool(t[k].any()) for t in truth)
        rows.append(_row(GENERATED, f"Dice of {name}, over all pixels", 2.0 * both / max(1, each), shown))
    for name in SPOTS:
        k = CLASSES.index(name)
        hit = [touched(t[k], f[k]) for f, t in zip(found, truth, strict=True)]
        right = [touched(f[k], t[k]) for f, t in zip(found, truth, strict=True)]
        for what, pairs in (("sensitivity", hit), ("precision", right)):
            n = sum(total for _, total in pairs)
            rows.append(_row(GENERATED, f"{what} of {name}, by lesion", sum(p for p, _ in pairs) / max(1, n), n))
    for name in WIDE:
        k = CLASSES.index(name)
        there = np.array([t[k].mean() >= LEAST_SHARE for t in truth])
        told = np.array([f[k].mean() >= LEAST_SHARE for f in found])
        rows.append(_row(GENERATED, f"sensitivity of {name}, by picture", told[there].mean(), int(there.sum())))
        rows.append(_row(GENERATED, f"specificity of {name}, by picture", (~told[~there]).mean(), int((~there).sum())))
    rows += _landmarks(found, truth)
    spots = [CLASSES.index(name) for name in SPOTS]
    clean = [f for f, t in zip(found, truth, strict=True) if not t[3:].any() and t[0].any()]
    false = [sum(ndimage.label(f[k], _EIGHT)[1] for k in spots) for f in clean]
    rows.append(_row(GENERATED, "lesions marked in a healthy eye, mean", np.mean(false), len(false)))
    return rows


def _landmarks(found: Sequence[Masks], truth: Sequence[Masks]) -> list[dict[str, Any]]:
    """Distances of disc and fovea from the truth, and the error of the cup to disc ratio, where whole discs show."""
    away: dict[str, list[float]] = {"optic-disc": [], "fovea": []}
    ratios, lost = [], {"optic-disc": 0, "fovea": 0}
    for f, t in zip(found, truth, strict=True):
        if t[0].sum() < 400 or t[9].any() or t[8].any():
            continue
        diameter = 2.0 * np.sqrt(t[0].sum() / np.pi)
        for name, distances in away.items():
            at, told = middle(t[CLASSES.index(name)]), middle(f[CLASSES.index(name)])
            if at is not None and told is not None:
                distances.append(float(np.linalg.norm(at - told)) / diameter)
            elif at is not None:
                lost[name] += 1
        if f[0].any():
            ratios.append(abs(_height(f[1] & f[0]) / _height(f[0]) - _height(t[1]) / _height(t[0])))
    rows = []
    for name, distances in away.items():
        n = len(distances) + lost[name]
        near = sum(d < 0.5 for d in distances)
        rows.append(_row(GENERATED, f"{name} found within half a disc diameter, share", near / max(1, n), n))
    rows.append(_row(GENERATED, "vertical cup to disc ratio, mean absolute error", np.mean(ratios), len(ratios)))
    return rows


def photograph(path: Path) -> Rgb:
    """A real photograph as the model gets it."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise FileNotFoundError(f"{path} is missing or not a picture: get the data folder, see --data")
    return letterbox(np.ascontiguousarray(bgr[..., ::-1]))


def on_photographs(path: Path, folder: Path) -> tuple[str, list[dict[str, Any]]]:
    """What the model marks on the real photographs, as a Markdown table, and rows of evidence."""
    evidence, lines = [], ["| photograph | disc | fovea | " + " | ".join((*SPOTS, *WIDE)) + " |"]
    lines.append("|---" * (3 + len(SPOTS) + len(WIDE)) + "|")
    discs = foveae = known = 0
    for name, places in PHOTOGRAPHS.items():
        picture = photograph(folder / name)
        (maps,) = answers(path, [picture])
        found = maps >= 0.5
        cells = []
        for k, kind in enumerate(("optic-disc", "fovea")):
            told = middle(found[CLASSES.index(kind)])
            if told is None:
                cells.append("not found")
                continue
            if places is None:
                cells.append("marked")
                continue
            original = cv2.imread(str(folder / name))
            assert original is not None
            height, width = original.shape[:2]
            scale = SIZE / max(height, width)
            at = np.array([places[k][0] * width - width / 2, places[k][1] * height - height / 2]) * scale + SIZE / 2
            diameter = SIZE / 8.0  # the disc is about an eighth of the field
            away = float(np.linalg.norm(told - at)) / diameter
            cells.append(f"{away:.1f} DD off")
            if kind == "optic-disc":
                discs += away < 0.75
            else:
                foveae += away < 0.75
        known += places is not None
        counts = [str(ndimage.label(found[CLASSES.index(kind)], _EIGHT)[1]) for kind in SPOTS]
        shares = [f"{100.0 * found[CLASSES.index(kind)].mean():.1f} %" for kind in WIDE]
        lines.append(f"| {name} | " + " | ".join((*cells, *counts, *shares)) + " |")
    for kind, n in (("optic-disc", discs), ("fovea", foveae)):
        evidence.append(_row("real photographs", f"{kind} marked near where a person sees it", n, known))
    return "\n".join(lines), evidence
