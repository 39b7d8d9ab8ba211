"""Train, measure and write the reference model `dr-grade`: grade of diabetic retinopathy of one fundus photograph.

    python scripts/train/dr_grade.py --images 700

The shipped `fundus-lesions` is its trunk and stays as it is; what its maps hold (how many lesions of each kind in each
quadrant about the fovea, how much area, how sure) goes through a small network that is trained here, on generated
photographs that the trunk has not seen. Both become one ONNX graph. Grades are those of the International Clinical
Diabetic Retinopathy scale (Wilkinson et al., Ophthalmology 2003).
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnx.compose
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "scripts" / "train")]

import common  # noqa: E402
from dr_grade_card import card_of  # noqa: E402
from fundus_lesions_measure import PHOTOGRAPHS, answers, photograph  # noqa: E402
from fundus_lesions_samples import CLASSES, HELD_OUT, SIZE, sample  # noqa: E402

from phantoms.fundus_lesions import lesions  # noqa: E402

NAME: Final = "dr-grade"
VERSION: Final = "1.0.0"
GRADES: Final = ("no-retinopathy", "mild", "moderate", "severe", "proliferative")
FIRST: Final = 5_000_000  # seed of the first picture: `fundus-lesions` has seen none of them
TRUNK: Final = common.MODELS / "fundus-lesions" / "model.onnx"
_LESIONS: Final = ("microaneurysm", "haemorrhage", "hard-exudate", "soft-exudate", "neovascularisation")
_NEAR: Final = 9  # two peaks of a map are one lesion when they are so near, in pixels


class Contents(nn.Module):
    """Maps [N, 10, 512, 512] -> what they hold [N, `LENGTH`], counts and areas as log(1 + n)."""

    LENGTH: Final = 6 * len(_LESIONS) + 2

    def __init__(self) -> None:
        super().__init__()
        at = (torch.arange(SIZE) + 0.5) / SIZE
        self.register_buffer("across", at.view(1, 1, 1, SIZE).clone())
        self.register_buffer("down", at.view(1, 1, SIZE, 1).clone())

    def _fovea(self, maps: torch.Tensor, axis: torch.Tensor) -> torch.Tensor:
        """Mean place of the fovea along an axis, 0..1 [N, 1, 1, 1]; the middle where there is none."""
        weight = maps[:, CLASSES.index("fovea")].unsqueeze(1) ** 2
        total = (weight * axis).sum((1, 2, 3), keepdim=True) + 0.5
        return total / (weight.sum((1, 2, 3), keepdim=True) + 1.0)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        assert isinstance(self.across, torch.Tensor)
        assert isinstance(self.down, torch.Tensor)
        first = CLASSES.index(_LESIONS[0])
        p = maps[:, first : first + len(_LESIONS)]
        # The ramps tell neighbours apart where a map is flat, so that each lesion has one peak.
        level = F.avg_pool2d(p, 3, 1, 1) + 1e-3 * self.across + 7e-4 * self.down
        peak = (level >= F.max_pool2d(level, _NEAR, 1, _NEAR // 2)).float() * (p > 0.5).float()
        right = (self.across > self._fovea(maps, self.across)).float()
        below = (self.down > self._fovea(maps, self.down)).float()
        sides = [right * below, (1.0 - right) * below, right * (1.0 - below), (1.0 - right) * (1.0 - below)]
        counts = torch.stack([(peak * side).sum((2, 3)) for side in sides], dim=2)  # [N, 5, 4]
        area = (p > 0.5).float().sum((2, 3))
        wide = (maps[:, first + len(_LESIONS) :] > 0.5).float().sum((2, 3))  # detachment, blood
        out = [
            torch.log1p(counts.amin(2)), torch.log1p(counts.amax(2)), torch.log1p(counts.sum(2)),
            torch.log1p(area) / 3.0, torch.log1p(p.sum((2, 3))) / 3.0, p.amax((2, 3)),
            torch.log1p(wide) / 4.0,
        ]  # fmt: skip
        return torch.cat(out, dim=1)


class Head(nn.Module):
    """What the maps hold -> logits of the five grades."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(Contents.LENGTH, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, len(GRADES))
        )

    def forward(self, contents: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(contents)
        return logits


class Graded(nn.Module):
    """What is exported after the trunk: maps -> probabilities of the grades."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.contents, self.head = Contents(), head

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.head(self.contents(maps)), dim=1)


def contents_of(seeds: range, processes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What the trunk's maps hold on generated photographs [N, `Contents.LENGTH`], and their grades [N]."""
    contents, out, grades = Contents(), [], []
    for at in range(seeds.start, seeds.stop, 100):  # a hundred at a time: maps are large
        pictures, _, grade = common.pooled(
            functools.partial(sample, graded=True), range(at, min(at + 100, seeds.stop)), processes
        )
        out += [contents(torch.from_numpy(maps[None])) for maps in answers(TRUNK, pictures)]
        grades += grade
        print(f"{len(out)} of {len(seeds)} photographs", flush=True)
    return torch.cat(out), torch.tensor(grades)


def train(args: argparse.Namespace, begun: common.Progress) -> common.Progress:
    begin = time.time()
    seeds = range(FIRST + begun.images, FIRST + begun.images + args.images)
    contents, grades = contents_of(seeds, args.processes)
    print(f"{len(grades)} photographs in {time.time() - begin:.0f} s", flush=True)

    def step(net: nn.Module, pick: torch.Tensor, g: torch.Generator) -> torch.Tensor:
        net.train()
        x = contents[pick] + 0.03 * torch.randn(len(pick), Contents.LENGTH, generator=g)
        return F.cross_entropy(net(x), grades[pick], label_smoothing=0.02)

    return common.fit(
        begun, step, args, images=len(grades), device=torch.device("cpu"), weight_decay=1e-2, warm_up=20, memory=0.99
    )


def write_whole(head: nn.Module, path: Path) -> str:
    """Trunk and head as one graph; gives the digest."""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "head.onnx"
        common.write_onnx(
            Graded(head), torch.zeros(1, len(CLASSES), SIZE, SIZE), part,
            input_name="maps_in", output_name="grade", dynamic={0: "N"},
        )  # fmt: skip
        trunk, after = (
            onnx.load(str(TRUNK)),
            onnx.compose.add_prefix(onnx.load(str(part)), "head_", rename_outputs=False),
        )
    whole = onnx.compose.merge_models(trunk, after, io_map=[("maps", "head_maps_in")])
    onnx.checker.check_model(whole, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(whole, str(path))
    return common.sha256(path)


def ask(path: Path, pictures: Any) -> NDArray[np.float32]:
    """Probabilities [N, 5] of pictures [512, 512, 3]."""
    session = common.runner(path)
    tensors = ((rgb.transpose(2, 0, 1)[None] / np.float32(255.0)).astype(np.float32) for rgb in pictures)
    return np.concatenate([session.run(None, {"image": tensor})[0] for tensor in tensors])


def kappa(table: NDArray[np.int64]) -> float:
    """Cohen's kappa with quadratic weights (Cohen, Psychological Bulletin 1968) of a table of truth by answer."""
    n = len(table)
    weight = np.subtract.outer(np.arange(n), np.arange(n)) ** 2 / (n - 1) ** 2
    chance = np.outer(table.sum(1), table.sum(0)) / table.sum()
    return float(1.0 - (weight * table).sum() / (weight * chance).sum())


def measured(told: NDArray[np.float32], grades: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[dict[str, Any]]]:
    """Table of truth by answer, and rows of evidence."""
    table = np.zeros((len(GRADES), len(GRADES)), np.int64)
    np.add.at(table, (grades, told.argmax(1)), 1)
    dataset, n = "generated photographs, held-out seeds", len(grades)
    refer, referred = grades >= 2, told[:, 2:].sum(1) >= 0.5
    values = [
        ("accuracy", float(np.trace(table)) / n, n),
        ("kappa with quadratic weights", kappa(table), n),
        ("sensitivity for moderate or worse", float(referred[refer].mean()), int(refer.sum())),
        ("specificity for moderate or worse", float((~referred[~refer]).mean()), int((~refer).sum())),
    ]
    for k, name in enumerate(GRADES):
        values.append((f"sensitivity for {name}", float(table[k, k] / max(1, table[k].sum())), int(table[k].sum())))
    return table, [{"dataset": dataset, "metric": m, "value": round(v, 3), "n": count} for m, v, count in values]


def finish(done: common.Progress, args: argparse.Namespace) -> None:
    """Export, measure and describe: everything in the model folder."""
    folder, path = args.out, args.out / "model.onnx"
    digest = write_whole(done.net.eval(), path)
    shown = lesions(SIZE, "R", HELD_OUT + 1, 3).rgb & 0xE0  # few colours, so that it compresses
    common.write_selftest(folder, (shown.transpose(2, 0, 1)[None] / np.float32(255.0)).astype(np.float32))
    seeds = range(HELD_OUT + FIRST, HELD_OUT + FIRST + args.held_out)
    pictures, _, grades = common.pooled(functools.partial(sample, graded=True), seeds, args.processes)
    table, evidence = measured(ask(path, pictures), np.array(grades))
    real = {name: ask(path, [photograph(args.data / "fundus" / name)])[0] for name in PHOTOGRAPHS}
    manifest = common.manifest_of(
        name=NAME,
        version=VERSION,
        title="Grade of diabetic retinopathy of fundus photographs",
        intended_use="demonstration",
        description="Grade of diabetic retinopathy on the international clinical scale, from colour fundus "
        "photographs; learnt from generated pictures alone.",
        digest=digest,
        modality="OP",
        given={
            "name": "image", "layout": "NCHW", "channels": 3, "colour": "RGB", "size": [SIZE, SIZE],
            "spacing_um": None, "fit": "letterbox", "transpose": False, "range": [0.0, 1.0],
            "mean": None, "std": None, "padding": {"mode": "constant", "value": 0}, "batch": 2,
        },
        head={
            "kind": "classification", "output": "grade", "activation": "none",
            "classes": [{"name": name, "threshold": 0.5} for name in GRADES],
            "exclusive": False,  # has a meaning for maps alone
            "unit": None,
        },
        data=f"{done.images} generated photographs (scripts/phantoms/fundus_lesions.py); trunk as fundus-lesions",
        script="dr_grade.py",
        evidence=evidence,
    )  # fmt: skip
    common.write_manifest(folder, manifest)
    card = card_of(manifest, done, args, GRADES, table, real, common.sha256(TRUNK))
    (folder / "card.md").write_text(card, encoding="utf-8")
    for row in evidence:
        print(row)
    print(table, real)


def main() -> None:
    parser = common.arguments(
        __doc__, NAME, epochs=150, minutes=10.0, images=700, batch=32, rate=5e-3, seed=7, held_out=200
    )
    common.run(parser.parse_args(), Head, train, finish)


if __name__ == "__main__":
    main()
