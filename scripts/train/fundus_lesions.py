"""Train, measure and write the reference model `fundus-lesions`: landmarks and lesions of a fundus photograph.

    python scripts/train/fundus_lesions.py --half --minutes 30

All that it learns from is generated (scripts/phantoms/fundus_lesions.py). The real photographs in `--data` are measured
on after training and never used before.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "plugin"), str(ROOT / "scripts"), str(ROOT / "scripts" / "train")]

import common  # noqa: E402
from fundus_lesions_card import card_of  # noqa: E402
from fundus_lesions_measure import answers, measured, on_photographs  # noqa: E402
from fundus_lesions_samples import CLASSES, HELD_OUT, SIZE, sample  # noqa: E402

from airouter.domain import codes  # noqa: E402
from airouter.domain.code import Code  # noqa: E402
from phantoms.fundus_lesions import lesions  # noqa: E402

NAME: Final = "fundus-lesions"
VERSION: Final = "1.0.0"
PIECE: Final = 256  # side of the pieces that it learns from, in pixels
CODES: Final[dict[str, Code]] = {
    "optic-disc": codes.OPTIC_DISC, "optic-cup": codes.OPTIC_CUP, "fovea": codes.FOVEA,
    "microaneurysm": codes.MICROANEURYSM, "haemorrhage": codes.HAEMORRHAGE, "hard-exudate": codes.HARD_EXUDATE,
    "soft-exudate": codes.SOFT_EXUDATE, "neovascularisation": codes.RETINAL_NEOVASCULARISATION,
    "retinal-detachment": codes.RETINAL_DETACHMENT, "vitreous-haemorrhage": codes.VITREOUS_HAEMORRHAGE,
}  # fmt: skip
# Small lesions hold few pixels: theirs weigh more. Order of CLASSES.
_WEIGHT: Final = (1.0, 2.0, 2.0, 8.0, 4.0, 5.0, 4.0, 4.0, 1.0, 1.0)


class Lesions(nn.Module):
    """A U-Net with sums (LinkNet) at half the resolution; its last layer gives four pixels for each of its own.

    Input N x 3 x 512 x 512 in 0..1, output N x 10 x 512 x 512, logits.
    """

    def __init__(self, widths: tuple[int, ...] = (20, 36, 60, 88, 120)) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 5, 2, 2)
        self.down = nn.ModuleList([common.Block(a, b) for a, b in itertools.pairwise((widths[0], *widths))])
        self.narrow = nn.ModuleList([nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(widths)])
        self.up = nn.ModuleList([common.Block(a, a) for a in widths[:-1]])
        self.head = nn.Conv2d(widths[0], 4 * len(CLASSES), 1)
        assert self.head.bias is not None
        nn.init.constant_(self.head.bias, -3.0)  # most pixels are of no class

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(image))
        skips = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        for level in reversed(range(len(self.up))):
            x = F.interpolate(self.narrow[level](x), scale_factor=2.0, mode="nearest")
            x = self.up[level](x + skips[level])
        return F.pixel_shuffle(self.head(x), 2)


def loss_of(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, in which the pixels of small lesions weigh more, and Dice of the classes that are there.

    logits: float [N, 10, rows, columns]; target: bool of that shape. Most pixels are of no class, so what only they
    need is computed everywhere and the rest at the others alone.
    """
    kind = torch.arange(len(CLASSES)).view(1, -1, 1, 1).expand_as(target)[target]
    inside = logits[target]
    weight = torch.tensor(_WEIGHT)[kind]
    entropy = F.softplus(logits).sum() + (weight * F.softplus(-inside) - F.softplus(inside)).sum()
    none = torch.zeros(len(CLASSES))
    both = none.index_add(0, kind, torch.sigmoid(inside))
    there = none.index_add(0, kind, torch.ones_like(inside))
    dice = 1.0 - (2.0 * both + 1.0) / (torch.sigmoid(logits).sum((0, 2, 3)) + there + 1.0)
    return 8.0 * entropy * len(CLASSES) / logits.numel() + 0.5 * dice[there > 0].sum()


def corner_of(packed: NDArray[np.uint8], rng: np.random.Generator) -> tuple[int, int]:
    """Row and column (a multiple of 8) of a piece to learn from: mostly about a pixel of one of the classes there.

    packed: masks [10, 512, 64]. Each class that is there is as likely, so that the rare and the small are seen often.
    """
    there = np.flatnonzero(packed.any(axis=(1, 2)))
    if len(there) and rng.random() < 0.75:
        rows, bytes_ = np.nonzero(packed[rng.choice(there)])
        k = int(rng.integers(len(rows)))
        corner = np.array([rows[k], 8 * bytes_[k]]) - rng.integers(16, PIECE - 16, 2)
    else:
        corner = rng.integers(0, SIZE - PIECE + 1, 2)
    row, column = np.clip(corner, 0, SIZE - PIECE)
    return int(row), int(column) // 8 * 8


def pieces(
    picture: Sequence[NDArray[np.uint8]], packed: Sequence[NDArray[np.uint8]], pick: torch.Tensor, g: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A piece of each of these pictures: colours [N, 3, `PIECE`, `PIECE`] in 0..1, and its masks, bool."""
    rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=g)))
    colours, masks = [], []
    for n in (pick % len(picture)).tolist():  # each several times, in other pieces
        row, column = corner_of(packed[n], rng)
        colours.append(picture[n][row : row + PIECE, column : column + PIECE])
        masks.append(packed[n][:, row : row + PIECE, column // 8 : (column + PIECE) // 8])
    x = torch.from_numpy(np.stack(colours)).permute(0, 3, 1, 2).float() / 255.0
    return x, torch.from_numpy(np.unpackbits(np.stack(masks), axis=3)).bool()


def train(args: argparse.Namespace, begun: common.Progress) -> common.Progress:
    begin = time.time()
    numbers = range(begun.images, begun.images + args.images)
    picture, packed, _ = common.pooled(sample, numbers, args.processes)
    print(f"{len(picture)} pictures in {time.time() - begin:.0f} s", flush=True)

    def step(net: nn.Module, pick: torch.Tensor, g: torch.Generator) -> torch.Tensor:
        net.train()
        x, y = pieces(picture, packed, pick, g)
        for axis in (2, 3):
            if torch.rand(1, generator=g) < 0.5:
                x, y = x.flip(axis), y.flip(axis)
        gain = torch.empty(len(pick), 3, 1, 1).uniform_(0.9, 1.1, generator=g)
        x = (x * gain).clamp(0.0, 1.0).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=args.half):
            logits = net(x)
        return loss_of(logits.float(), y)

    begun.net.to(memory_format=torch.channels_last)
    done = common.fit(
        begun, step, args, images=4 * len(picture), device=torch.device("cpu"), weight_decay=1e-3, warm_up=60,
        memory=0.98, clip=5.0,
    )  # fmt: skip
    return common.Progress(done.net, begun.images + args.images, done.steps, done.runs)


def small_picture(seed: int) -> NDArray[np.float32]:
    """Severe retinopathy as an input of the model: disc, fovea and what is between, on black, in few colours.

    So that the self-test compresses.
    """
    eye = lesions(SIZE, "R", seed, 3, macular_exudates=True)
    left, right = sorted((round(eye.disc[0]), round(eye.macula[0])))
    middle = round((eye.disc[1] + eye.macula[1]) / 2)
    shown = np.zeros_like(eye.rgb)
    window = (slice(max(0, middle - 60), middle + 60), slice(max(0, left - 40), right + 40))
    shown[window] = eye.rgb[window] & 0xE0
    return np.ascontiguousarray(shown.transpose(2, 0, 1)[None] / np.float32(255.0), np.float32)


def finish(done: common.Progress, args: argparse.Namespace) -> None:
    """Export, measure and describe: everything in the model folder."""
    folder, path = args.out, args.out / "model.onnx"
    digest = common.write_onnx(
        common.Shipped(done.net.to(memory_format=torch.contiguous_format), torch.sigmoid),
        torch.zeros(1, 3, SIZE, SIZE), path, input_name="image", output_name="maps", dynamic={0: "N"},
    )  # fmt: skip
    common.write_selftest(folder, small_picture(HELD_OUT), decimals=3)
    held_out = common.pooled(sample, range(HELD_OUT, HELD_OUT + args.held_out), args.processes)
    evidence = measured(path, *held_out[:2])
    photographs, rows = on_photographs(path, args.data / "fundus")
    evidence += rows
    begin, many = time.process_time(), list(held_out[0][:10])
    speed = len(list(answers(path, many))) / (time.process_time() - begin)
    manifest = common.manifest_of(
        name=NAME,
        version=VERSION,
        title="Landmarks and lesions of fundus photographs",
        intended_use="demonstration",
        description="Optic disc and cup, fovea, lesions of diabetic retinopathy, retinal detachment and vitreous "
        "haemorrhage on colour fundus photographs; learnt from generated pictures alone.",
        digest=digest,
        modality="OP",
        given={
            "name": "image", "layout": "NCHW", "channels": 3, "colour": "RGB", "size": [SIZE, SIZE],
            "spacing_um": None, "fit": "letterbox", "transpose": False, "range": [0.0, 1.0],
            "mean": None, "std": None, "padding": {"mode": "constant", "value": 0}, "batch": 2,
        },
        head={
            "kind": "segmentation", "output": "maps", "layout": "NCHW", "activation": "none",
            "classes": [{"name": name, "code": asdict(CODES[name]), "threshold": 0.5} for name in CLASSES],
            "exclusive": False,
            "unit": None,
        },
        data=f"{done.images} generated photographs (scripts/phantoms/fundus_lesions.py)",
        script="fundus_lesions.py",
        evidence=evidence,
    )  # fmt: skip
    common.write_manifest(folder, manifest)
    (folder / "card.md").write_text(card_of(manifest, done, args, photographs, speed), encoding="utf-8")
    for row in evidence:
        print(row)


def main() -> None:
    parser = common.arguments(
        __doc__, NAME, epochs=8, minutes=30.0, images=900, batch=4, rate=2e-3, seed=5, held_out=100
    )
    parser.add_argument("--half", action="store_true", help="multiply in bfloat16, quicker where the CPU has it")
    common.run(parser.parse_args(), Lesions, train, finish)


if __name__ == "__main__":
    main()
