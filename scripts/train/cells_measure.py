"""Measure the model `cells`, as the product uses it, on what it was not trained on."""

from pathlib import Path
from typing import Any, Final

import common
import numpy as np
import numpy.typing as npt
from cells_samples import CLASSES
from histology_fields import field
from nuclei_measure import SPACING_UM, Maps, evidence_of, padded
from nuclei_tiles import Labels, Rgb, Tile

from airouter.imaging.nuclei import instances, mean_per_label
from phantoms.histology import KINDS, Histology

HELD_OUT: Final = 500_000
TYPES: Final = ("tumour", "lymphocyte", "stromal", "normal")
_MERGE_UM: Final = 10.0  # as the pipeline mitotic-count joins parts of one figure
_NEAR_UM: Final = 7.0  # a found mitosis is right within this distance of a true one


def kind_of(maps: npt.NDArray[np.float32], labels: Labels) -> npt.NDArray[np.int64]:
    """For each nucleus the index into TYPES of the kind with the highest mean probability; -1 below 0.5."""
    means = np.stack([mean_per_label(maps[CLASSES.index(name)], labels) for name in TYPES])
    best = means.argmax(0)
    return np.where(np.nan_to_num(means.max(0)) >= 0.5, best, -1)


def matched(found: Labels, true: Labels) -> npt.NDArray[np.int64]:
    """For each found nucleus the true one with an intersection over union above 0.5, else 0."""
    n, m = int(found.max()) + 1, int(true.max()) + 1
    both = np.bincount(found.ravel().astype(np.int64) * m + true.ravel(), minlength=n * m).reshape(n, m)
    union = both.sum(1, keepdims=True) + both.sum(0, keepdims=True) - both
    good = both > 0.5 * union
    good[:, 0] = False
    good[0] = False
    return np.where(good.any(1), good.argmax(1), 0)


def mitoses_of(probability: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Centres (row, column) of the parts of the map above 0.5 of at least 8 um2; near ones are one figure."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.ndimage import center_of_mass, label

    parts, count = label(probability >= 0.5, np.ones((3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=count + 1) * SPACING_UM**2
    keep = [k for k in range(1, count + 1) if sizes[k] >= 8.0]
    centres = np.array(center_of_mass(parts > 0, parts, keep)).reshape(-1, 2)
    if len(centres) < 2:
        return centres
    groups = fcluster(linkage(centres, "complete"), _MERGE_UM / SPACING_UM, "distance")
    return np.stack([centres[groups == g].mean(0) for g in np.unique(groups)])


def mitosis_hits(found: npt.NDArray[np.float64], true: npt.NDArray[np.float64]) -> int:
    """Pairs of a found and a true mitosis, nearest first, each once."""
    if not len(found) or not len(true):
        return 0
    away = np.hypot(*(found[:, None] - true[None]).transpose(2, 0, 1)) * SPACING_UM
    hits = 0
    while away.size and away.min() <= _NEAR_UM:
        row, col = np.unravel_index(int(away.argmin()), away.shape)
        away = np.delete(np.delete(away, row, 0), col, 1)
        hits += 1
    return hits


def mitosis_evidence(maps: Maps, count: int) -> list[dict[str, Any]]:
    """Precision and recall of mitoses on other held-out fields, where they are frequent enough to be counted."""
    hits = seen = there = 0
    for number in range(HELD_OUT + 800_000, HELD_OUT + 800_000 + count):
        made = field(number, 448, SPACING_UM, dividing=400.0)
        true = made.centres[made.kind == KINDS.index("mitosis")].astype(np.float64)
        found = mitoses_of(maps(made.rgb)[CLASSES.index("mitosis")])
        hits, seen, there = hits + mitosis_hits(found, true), seen + len(found), there + len(true)
    data = "generated fields with frequent mitoses, held-out numbers 1300000+"
    return [
        {
            "dataset": data,
            "metric": "precision of mitoses within 7 um",
            "value": round(hits / max(1, seen), 3),
            "n": seen,
        },
        {
            "dataset": data,
            "metric": "recall of mitoses within 7 um",
            "value": round(hits / max(1, there), 3),
            "n": there,
        },
    ]


def generated_evidence(maps: Maps, count: int) -> list[dict[str, Any]]:
    """Nuclei, kinds and mitoses on held-out generated fields of 0.5 um per pixel."""
    tally = {name: np.zeros(3, np.int64) for name in ("nucleus", *TYPES, "mitosis")}  # hits, found, true
    stained = {stain: np.zeros(3, np.int64) for stain in ("H&E", "H-DAB")}
    right = total = 0
    for number in range(HELD_OUT, HELD_OUT + count):
        made = field(number, 448, SPACING_UM, dividing=40.0)
        answer = maps(made.rgb)
        found = instances(answer[0], answer[1], spacing_um=SPACING_UM)
        pair, kind = matched(found, made.labels), kind_of(answer, found)
        truth = _truth(made)
        hits = int((pair > 0).sum())
        for counts in (tally["nucleus"], stained[made.stain]):
            counts[:] += (hits, int(found.max()), int(made.labels.max()))
        paired = np.flatnonzero(pair)
        right += int((kind[paired] == truth[pair[paired]]).sum())
        total += len(paired)
        for n, name in enumerate(TYPES):
            same = int(((kind == n) & (pair > 0) & (truth[pair] == n)).sum())
            tally[name] += (same, int((kind[1:] == n).sum()), int((truth[1:] == n).sum()))
        true = made.centres[made.kind == KINDS.index("mitosis")].astype(np.float64)
        seen = mitoses_of(answer[CLASSES.index("mitosis")])
        tally["mitosis"] += (mitosis_hits(seen, true), len(seen), len(true))
    data = "generated fields, held-out numbers 500000+"
    rows = []
    for name, (hits, n, m) in tally.items():
        how = "within 7 um" if name == "mitosis" else "at IoU 0.5"
        rows.append(
            {
                "dataset": data,
                "metric": f"F1 of {name} {how}",
                "value": round(float(2 * hits / max(n + m, 1)), 3),
                "n": int(m),
            }
        )
    for stain, (hits, n, m) in stained.items():
        rows.append(
            {
                "dataset": f"{data}, {stain}",
                "metric": "F1 of nucleus at IoU 0.5",
                "value": round(float(2 * hits / max(n + m, 1)), 3),
                "n": int(m),
            }
        )
    rows.append(
        {
            "dataset": data,
            "metric": "right kind among the nuclei found",
            "value": round(right / max(total, 1), 3),
            "n": total,
        }
    )
    return rows


def _truth(made: Histology) -> npt.NDArray[np.int64]:
    """Index into TYPES of each true nucleus; a mitotic figure is of a tumour cell; -1 for the background."""
    seen_as = ["tumour" if name == "mitosis" else name for name in KINDS]
    number = np.array([TYPES.index(name) if name != "none" else -1 for name in seen_as])
    return number[made.kind]


def seven_maps(path: Path) -> Maps:
    """The shipped file as a function of an image, all maps."""
    session = common.runner(path)

    def maps(rgb: Rgb) -> npt.NDArray[np.float32]:
        image, (rows, cols) = padded(rgb)
        return np.asarray(session.run(["maps"], {"image": image})[0][0, :, :rows, :cols])

    return maps


def all_evidence(
    path: Path, test: list[Tile], data: Path, threshold: float, seed: int, count: int
) -> list[dict[str, Any]]:
    """Every figure of the card, measured on the file that is shipped."""
    maps = seven_maps(path)
    generated = generated_evidence(maps, count) + mitosis_evidence(maps, count)
    return generated + evidence_of(path, test, data, threshold, seed)
