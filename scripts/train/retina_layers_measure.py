"""What the exported `retina-layers` answers on phantoms that it never saw and, after training only, on real B-scans.

Surfaces are read with `airouter.imaging.layers.surfaces`: each is the boundary between the classes above it and the
rest of the tissue.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from oct_layers import HAND_READING, real_bscan

from airouter.imaging import layers
from phantoms import oct_disc, oct_layers
from phantoms.oct import Noise
from phantoms.oct_layers import CLASS, CLASSES, Disease, LayerPhantom

ROWS, COLS = 384, 256
HELD_OUT = 10_000_000  # seeds from here on are never trained on

_INNER = ("vitreous", "rnfl", "gcl-ipl")
ABOVE = {
    "ilm": _INNER[:1],
    "rnfl": _INNER[:2],
    "ipl": _INNER,
    "rpe": (*_INNER, "outer-retina", "irf", "srf"),
    "bm": (*_INNER, "outer-retina", "irf", "srf", "rpe", "drusen", "ped"),
}
NAMES = {"ilm": "ILM", "rnfl": "RNFL outer", "ipl": "IPL outer", "rpe": "RPE inner", "bm": "Bruch's membrane"}
BODIES = ("drusen", "irf", "srf", "ped")

Frame = NDArray[np.uint8]
Prob = NDArray[np.float32]


def fitted(frame: Frame) -> Prob:
    """A B-scan as the model takes it."""
    small = cv2.resize(frame, (COLS, ROWS), interpolation=cv2.INTER_AREA).astype(np.float32)
    return small[None, None] / np.float32(255.0)


def ask(session: Any, frame: Frame) -> Prob:
    """Probabilities [10, rows, cols] on the B-scan's own pixels: the manifest's `stretch`, there and back."""
    (prob,) = session.run(None, {"bscan": fitted(frame)})
    return np.stack([cv2.resize(c, frame.shape[::-1], interpolation=cv2.INTER_LINEAR) for c in prob[0]])


def surfaces(prob: Prob) -> dict[str, NDArray[np.float64]]:
    """The five surfaces [cols] in rows from the top edge; NaN where a column is not trusted."""

    def between(above: tuple[str, ...], below: Prob) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        upper = prob[[CLASS[c] for c in above]].sum(0)
        return layers.surfaces(np.stack([upper, 1.0 - upper - below, np.zeros_like(below), below]))

    choroid = prob[CLASS["choroid"]]
    found = {name: between(above, choroid)[0] for name, above in ABOVE.items() if name != "bm"}
    found["bm"] = between(ABOVE["ilm"], choroid)[1]
    return found


def evidence(
    session: Any, draw: Callable[[int], LayerPhantom], count: int, data: Path
) -> list[dict[str, str | float | int]]:
    """All figures, as rows of the manifest."""
    rows: list[dict[str, str | float | int]] = []

    def add(dataset: str, n: int, figures: dict[str, float]) -> None:
        rows.extend({"dataset": dataset, "metric": k, "value": v, "n": n} for k, v in figures.items())

    add(f"phantom B-scans, held-out seeds {HELD_OUT}+", count, of_bscans(session, draw, count))
    add("phantom macular volumes of 19 B-scans with every kind of fluid and drusen", 6, of_volumes(session, 6))
    add("phantom circle scans", 40, of_circles(session, 40))
    add("phantom volumes of 25 B-scans with geographic atrophy", 4, of_atrophy(session, 4))
    if hand := _hand(session, data):
        add("one real B-scan (Topcon 3DOCT-1000MK2)", len(HAND_READING), hand[1])
    if theirs := beside_published(session, data):
        add("one real B-scan beside ReLayNet's published result (not a truth)", 1, theirs)
    return rows


def of_bscans(session: Any, draw: Callable[[int], LayerPhantom], count: int) -> dict[str, float]:
    """Dice of each class over all pixels, and errors of the surfaces on trusted columns."""
    both, said, true = (np.zeros(len(CLASSES)) for _ in range(3))
    error: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    known: list[float] = []
    alarms = dict.fromkeys(BODIES, 0)
    without = dict.fromkeys(BODIES, 0)
    for seed in range(HELD_OUT, HELD_OUT + count):
        p = draw(seed)
        prob = ask(session, p.frames[0])
        best = prob.argmax(0)
        for i, name in enumerate(CLASSES):
            a, b = best == i, p.labels[0] == i
            both[i], said[i], true[i] = both[i] + (a & b).sum(), said[i] + a.sum(), true[i] + b.sum()
            if name in BODIES and not b.any():
                without[name] += 1
                alarms[name] += int(a.sum() * p.axial_um * p.lateral_um > 2000.0)
        found = surfaces(prob)
        known.append(float(np.isfinite(found["bm"]).mean()))
        for name, surface in found.items():
            off = np.abs(surface - p.surfaces[name][0]) * p.axial_um
            error[name].append(off[np.isfinite(off)])
    if not any(known):
        raise SystemExit("no column of the held-out phantoms has a trusted answer: train longer")
    out = {f"Dice of {name}": round(float(2 * both[i] / (said[i] + true[i])), 3) for i, name in enumerate(CLASSES)}
    for name, parts in error.items():
        whole = np.concatenate(parts)
        out[f"{NAMES[name]} mean absolute error, um"] = round(float(whole.mean()), 2)
        out[f"{NAMES[name]} 95th percentile of absolute error, um"] = round(float(np.percentile(whole, 95)), 1)
    out["columns with a trusted answer, %"] = round(100.0 * float(np.mean(known)), 1)
    for name in BODIES:
        out[f"B-scans without {name} in which more than 0.002 mm2 was seen, %"] = round(
            100.0 * alarms[name] / max(without[name], 1), 1
        )
    return out


def wet_eye(seed: int, bscans: int = 19) -> LayerPhantom:
    """A volume with cysts, subretinal fluid, detachments of the RPE and drusen, imaged as a recent device does."""
    disease = Disease.random(
        np.random.default_rng(HELD_OUT + seed), irf=8, srf=2, ped=2, drusen=15, spread=(0.9, 0.7 if bscans > 1 else 0.1)
    )
    noise = Noise(looks=8.0, signal_db=2.0)
    return oct_layers.macula(
        bscans, 640, 384, 3.5, 15.0, 240.0, seed=HELD_OUT + seed, disease=disease, noise=noise, laterality="L"
    )


def of_volumes(session: Any, count: int) -> dict[str, float]:
    """Errors of volumes, as a part of the true ones."""
    off: dict[str, list[float]] = defaultdict(list)
    for seed in range(count):
        p = wet_eye(seed)
        best = np.stack([ask(session, frame).argmax(0) for frame in p.frames])
        for name in BODIES:
            true = int((p.labels == CLASS[name]).sum())
            off[name].append(float((best == CLASS[name]).sum() / true - 1.0) * 100.0)
    out = {}
    for name, parts in off.items():
        out[f"volume of {name}, mean error, %"] = round(float(np.mean(parts)), 1)
        out[f"volume of {name}, mean absolute error, %"] = round(float(np.mean(np.abs(parts))), 1)
    return out


def of_circles(session: Any, count: int) -> dict[str, float]:
    """Errors of the thickness of the nerve fibre layer."""
    rng = np.random.default_rng(HELD_OUT)
    whole, quarters = [], []
    for seed in range(HELD_OUT, HELD_OUT + count):
        loss = float(rng.uniform(0.5, 1.1))
        quadrants = {name: v * loss for name, v in oct_disc.QUADRANTS.items()}
        c = oct_disc.circle(seed=seed, quadrants=quadrants, noise=Noise(looks=8.0, signal_db=2.0))
        found = surfaces(ask(session, c.scan.frames[0]))
        thick = layers.thickness_um(found["ilm"], found["rnfl"], c.scan.axial_um)
        known = np.isfinite(thick)
        if not known.any():
            continue
        whole.append(float(thick[known].mean() - c.rnfl_um[known].mean()))
        for name in oct_disc.QUADRANTS:
            here = known & (np.abs((c.angle - oct_disc.CENTRES[name] + 180.0) % 360.0 - 180.0) < 45.0)
            if here.any():
                quarters.append(float(thick[here].mean() - c.rnfl_um[here].mean()))
    return {
        "mean RNFL thickness, mean error, um": round(float(np.mean(whole)), 2),
        "mean RNFL thickness, mean absolute error, um": round(float(np.mean(np.abs(whole))), 2),
        "RNFL thickness of a quadrant, mean absolute error, um": round(float(np.mean(np.abs(quarters))), 2),
    }


def of_atrophy(session: Any, count: int) -> dict[str, float]:
    """Columns without RPE, told by the class that is missing there."""
    both = said = true = 0
    for seed in range(count):
        disease = Disease.random(np.random.default_rng(HELD_OUT + seed), atrophy=3, drusen=6)
        p = oct_layers.macula(
            25, 560, 384, 3.5, 15.0, 240.0, seed=seed, disease=disease, noise=Noise(looks=8.0, signal_db=2.0)
        )
        gone = np.stack([~(ask(session, frame).argmax(0) == CLASS["rpe"]).any(0) for frame in p.frames])
        both, said, true = both + (gone & p.atrophy).sum(), said + gone.sum(), true + p.atrophy.sum()
    return {
        "columns without RPE, Dice": round(float(2 * both / (said + true)), 3),
        "area of atrophy, error, %": round(100.0 * float(said / true - 1.0), 1),
    }


def _hand(session: Any, data: Path) -> tuple[str, dict[str, float]] | None:
    real = real_bscan(data)
    if real is None:
        return None
    frame, axial_um, _ = real
    found = surfaces(ask(session, frame))
    ilm, bm = found["ilm"], found["bm"]
    lines = [
        "| column | ILM by hand | model | outer by hand | model | thickness by hand, um | model, um |",
        "|---|---|---|---|---|---|---|",
    ]
    inner, outer = [], []
    for column, a, b in HAND_READING:
        inner.append(abs(ilm[column] - a) * axial_um), outer.append(abs(bm[column] - b) * axial_um)
        lines.append(
            f"| {column} | {a} | {ilm[column]:.1f} | {b} | {bm[column]:.1f} | {(b - a) * axial_um:.0f} "
            f"| {(bm[column] - ilm[column]) * axial_um:.0f} |"
        )
    trusted = 100.0 * float(np.isfinite(bm).mean())
    return "\n".join(lines), {
        "ILM mean absolute difference from a hand reading, um": round(float(np.nanmean(inner)), 1),
        "outer boundary mean absolute difference from a hand reading, um": round(float(np.nanmean(outer)), 1),
        "columns with a trusted answer, %": round(trusted, 1),
    }


def beside_hand(session: Any, data: Path) -> str:
    """Markdown table of the hand reading of the real B-scan and the model."""
    made = _hand(session, data)
    return made[0] if made else "The data folder was not there."


# Colours (blue, green, red) of the published result, by what lies above each surface.
_PUBLISHED = ((0, 0, 128), (0, 128, 0), (0, 128, 128))  # vitreous, RNFL, GCL and IPL
_CHOROID = (0, 0, 192)


def beside_published(session: Any, data: Path) -> dict[str, float] | None:
    """Mean absolute difference in rows (of 512) from the published layer result of the other real B-scan."""
    folder = data / "oct"
    picture = cv2.imread(str(folder / "relaynet_notebook_bscan_512.png"), cv2.IMREAD_GRAYSCALE)
    drawn = cv2.imread(str(folder / "relaynet_notebook_seg_rgb_512.png"))
    if picture is None or drawn is None:
        return None
    picture, drawn = picture.T.copy(), drawn.transpose(1, 0, 2).astype(int)  # both are stored with depth along columns
    theirs = np.zeros((len(CLASSES), *picture.shape), np.float32)
    for name, colour in zip((*_INNER, "choroid"), (*_PUBLISHED, _CHOROID), strict=True):
        theirs[CLASS[name]] = (drawn == colour).all(axis=2)
    theirs[CLASS["outer-retina"]] = 1.0 - theirs.sum(0)
    ours, published = surfaces(ask(session, picture)), surfaces(theirs)
    return {
        f"{NAMES[name]} mean absolute difference, rows": round(
            float(np.nanmean(np.abs(ours[name] - published[name]))), 2
        )
        for name in ("ilm", "rnfl", "ipl", "bm")
    }
