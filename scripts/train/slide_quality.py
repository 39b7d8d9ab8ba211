"""Train, measure and write the reference model `slide-quality`: artefacts of brightfield slides.

    python scripts/train/slide_quality.py --data ../shared/data --minutes 13

Needs torch, onnx, onnxruntime, opencv, scikit-image, Pillow, PyYAML. Two CPU cores are enough. Same seed, same epochs,
same versions: same weights on the CPU (`--minutes` must then not cut it short).

Artefacts are simulated (`scripts/phantoms/artefacts.py`) on real tissue and on generated slides: the lower rows of
`slides/cmu-1-small-region.svs`, and the tiles of `nuclei/` that are for training (DSB 2018 stage 1, CC0). The upper
rows of the slide and the test tiles are measured on and never trained on.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "plugin"), str(ROOT / "scripts"), str(ROOT / "scripts" / "train")]

import common  # noqa: E402
from slide_quality_card import card_of  # noqa: E402
from slide_quality_measure import Figures, measure  # noqa: E402
from slide_quality_tiles import CLASSES, SIZE, UM, UNSAID, sample  # noqa: E402

from airouter.domain import codes  # noqa: E402
from airouter.domain.code import Code  # noqa: E402
from phantoms.slide import slide  # noqa: E402

NAME: Final = "slide-quality"
CROP: Final = 192  # pixels on each side of what is trained on, anywhere in a sample
CODES: Final[dict[str, Code]] = {
    "in-focus": codes.IN_FOCUS,
    "out-of-focus": codes.OUT_OF_FOCUS,
    "folded": codes.FOLDED_TISSUE,
    "understained": codes.UNDERSTAINED,
    "overstained": codes.OVERSTAINED,
    "slide-marking": codes.SLIDE_MARKING,
    "air-bubble": codes.AIR_BUBBLE,
    "coverslip-edge": codes.COVERSLIP_EDGE,
    "stripes": codes.STRIPES,
}
# Of each class in the cross-entropy: what covers few pixels, or is hard to see, weighs more.
_WEIGHT: Final = {"background": 0.8, "in-focus": 1.3, "folded": 2.0, "air-bubble": 1.5}


class Quality(nn.Module):
    """A U-Net (Ronneberger et al. 2015) with sums in place of concatenation, on a grid of half the resolution.

    Input N x 3 x H x W in 0..1, H and W multiples of 32; output N x classes x H x W, logits. The first convolution has
    a stride of 2: it sees every pixel, which focus needs, while borders of artefacts need no more than 2 um.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 48, 80, 112)) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        self.down = nn.ModuleList([common.Block(a, b) for a, b in zip((widths[0], *widths[:-1]), widths, strict=True)])
        self.narrow = nn.ModuleList([nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(widths)])
        self.up = nn.ModuleList([common.Block(a, a) for a in widths[:-1]])
        self.head = nn.Conv2d(widths[0], len(CLASSES), 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.stem(1.0 - image)  # glass is 0, so that the zeros of padding are glass
        skips = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        for level in reversed(range(len(self.up))):
            x = F.interpolate(self.narrow[level](x), scale_factor=2.0, mode="nearest")
            x = self.up[level](x + skips[level])
        logits: torch.Tensor = F.interpolate(self.head(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        return logits


def loss_of(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, and Dice of every class, over the pixels that have a label."""
    weight = torch.tensor([_WEIGHT.get(name, 1.0) for name in CLASSES], device=logits.device)
    entropy = F.cross_entropy(logits, label, weight, ignore_index=UNSAID)
    known = (label != UNSAID)[:, None]
    truth = F.one_hot(torch.where(label == UNSAID, 0, label), len(CLASSES)).permute(0, 3, 1, 2) * known
    p = torch.softmax(logits, 1) * known
    overlap = 2.0 * (p * truth).sum((0, 2, 3)) + 100.0
    dice = 1.0 - overlap / (p.sum((0, 2, 3)) + truth.sum((0, 2, 3)) + 100.0)
    return entropy + dice.mean()


def train(args: argparse.Namespace, begun: common.Progress) -> common.Progress:
    """Make the samples, and fit."""
    device = common.seed_everything(args.seed)
    start = time.monotonic()
    seeds = range(begun.images, begun.images + args.images)
    pictures, labels = common.pooled(functools.partial(sample, data=args.data), seeds, args.processes)
    picture, label = torch.from_numpy(np.stack(pictures)), torch.from_numpy(np.stack(labels))
    print(f"{len(picture)} samples in {time.monotonic() - start:.0f} s", flush=True)

    def loss(net: nn.Module, numbers: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        image, truth = picture[numbers].permute(0, 3, 1, 2), label[numbers]
        turns, mirrored, row, column = torch.randint(0, SIZE - CROP, (4,), generator=generator).tolist()
        image, truth = (whole[..., row : row + CROP, column : column + CROP] for whole in (image, truth))
        image, truth = image.rot90(turns % 4, (2, 3)), truth.rot90(turns % 4, (1, 2))
        if mirrored % 2:
            image, truth = image.flip(3), truth.flip(2)
        net.train()
        return loss_of(
            net(image.to(device).float().contiguous(memory_format=torch.channels_last) / 255.0), truth.to(device).long()
        )

    return common.fit(
        begun, loss, args, images=len(picture), device=device, weight_decay=1e-3, warm_up=60, memory=0.98, clip=5.0
    )


def manifest_of(digest: str, figures: Figures) -> dict[str, Any]:
    """manifest.yaml as a value."""
    return common.manifest_of(
        name=NAME,
        version="1.0.0",
        title="Artefacts of brightfield slides",
        intended_use="demonstration",
        description=(
            "Small U-Net that gives each pixel of a slide one class: clean glass, tissue in focus, or one of eight "
            "artefacts of preparation and scanning."
        ),
        digest=digest,
        modality="SM",
        stains=["H&E", "H-DAB"],
        given={
            "name": "image", "layout": "NCHW", "channels": 3, "colour": "RGB", "size": [512, 512],
            "spacing_um": UM, "fit": "tile", "overlap": 64, "transpose": False, "range": [0.0, 1.0],
            "mean": None, "std": None, "padding": {"mode": "constant", "value": 255}, "batch": 2,
        },
        head={
            "kind": "segmentation", "output": "classes", "layout": "NCHW", "activation": "none",
            "classes": [
                {"name": name, **({"code": asdict(CODES[name])} if name in CODES else {})} for name in CLASSES
            ],
            "exclusive": True,
            "unit": None,
        },
        data="simulated artefacts on the lower rows of CMU-1 (CC0), on DSB 2018 tiles (CC0) and on generated slides",
        script="slide_quality.py",
        evidence=figures.evidence,
    )  # fmt: skip


def finish(done: common.Progress, args: argparse.Namespace) -> None:
    """Export, measure, write the folder."""
    path = args.out / "model.onnx"
    if done.steps:
        common.write_onnx(
            common.Shipped(done.net, functools.partial(torch.softmax, dim=1)),
            torch.zeros(1, 3, SIZE, SIZE),
            path,
            input_name="image",
            output_name="classes",
            dynamic={0: "n", 2: "rows", 3: "columns"},
        )
    common.write_selftest(args.out, _selftest(), decimals=3)
    figures = measure(path, args.data, args.held_out)
    manifest = manifest_of(common.sha256(path), figures)
    common.write_manifest(args.out, manifest)
    (args.out / "card.md").write_text(card_of(manifest, figures, done), encoding="utf-8")


def _selftest() -> npt.NDArray[np.float32]:
    """A piece of a generated slide on glass, half of it out of focus; few grey values, so that the file stays small."""
    from phantoms.artefacts import defocus

    made = slide(512, 512, UM, "H&E", 2500, 0.0, seed=11).rgb
    half = np.zeros(made.shape[:2], np.bool_)
    half[:, 256:] = True
    picture = np.full_like(made, 240)
    picture[200:312, 200:312] = defocus(made, UM, 6.0, half).rgb[200:312, 200:312] & 0xF0
    return np.ascontiguousarray(picture.transpose(2, 0, 1))[None].astype(np.float32) / np.float32(255.0)


def main() -> None:
    parser = common.arguments(
        __doc__, NAME, epochs=30, minutes=13.0, images=2400, batch=8, rate=2e-3, seed=8, held_out=40
    )
    common.run(parser.parse_args(), Quality, train, finish)


if __name__ == "__main__":
    main()
