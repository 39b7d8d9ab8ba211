"""Train, measure and write the reference model `tissue-classes`: tumour, tubule, stroma, normal, necrosis and ink.

    python scripts/train/tissue_classes.py --minutes 12

Needs torch, onnx, onnxruntime, opencv, scikit-image, Pillow, PyYAML. Two CPU cores are enough. Same seed, same epochs,
same versions: same weights on the CPU (`--minutes` must then not cut it short).

Trained on generated fields only (`scripts/phantoms/histology.py`): no real tissue with these classes drawn on it was at
hand under an open licence. `slides/cmu-1-small-region.svs` is looked at after training and never used before.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "plugin"), str(ROOT / "scripts"), str(ROOT / "scripts" / "train")]

import common  # noqa: E402
from histology_fields import field  # noqa: E402
from nuclei_tiles import degraded, shifted  # noqa: E402
from slide_quality_tiles import real_slide  # noqa: E402
from tissue_classes_card import card_of  # noqa: E402
from unet import UNet  # noqa: E402

from airouter.domain import codes  # noqa: E402
from airouter.domain.code import Code  # noqa: E402
from phantoms.histology import NAMES  # noqa: E402

NAME: Final = "tissue-classes"
VERSION: Final = "1.0.0"
UM: Final = 2.0
CROP: Final = 144
FIELD: Final = 1000  # pixels of 1 um on each side of a field
HELD_OUT: Final = 500_000
CODES: Final[dict[str, Code]] = {
    "tumour": codes.NEOPLASM,
    "tubule": codes.TUMOUR_TUBULE,
    "stroma": codes.CONNECTIVE_TISSUE,
    "normal": codes.NORMAL_TISSUE,
    "necrosis": codes.NECROSIS,
    "ink": codes.MARGIN_INK,
}
WIDTHS: Final = (12, 24, 40, 64, 96)

Bytes = npt.NDArray[np.uint8]


def reduced(number: int) -> tuple[Bytes, Bytes]:
    """A field drawn at 1 um and reduced to 2 um by area, as a scanner's pyramid is: picture and classes."""
    made = field(number, FIELD, 1.0, dividing=20.0)
    half = FIELD // 2
    rgb = cv2.resize(made.rgb, (half, half), interpolation=cv2.INTER_AREA)
    return np.asarray(rgb, np.uint8), np.ascontiguousarray(made.classes[1::2, 1::2])


def crop(rgb: Bytes, classes: Bytes, rng: np.random.Generator) -> tuple[Bytes, Bytes]:
    """An augmented piece of a field: scale, place, turn, dyes, optics."""
    size = int(CROP / rng.uniform(0.8, 1.25))
    row, col = (int(rng.integers(n - size + 1)) for n in classes.shape)
    window = (slice(row, row + size), slice(col, col + size))
    image = cv2.resize(rgb[window], (CROP, CROP), interpolation=cv2.INTER_LINEAR)
    truth = cv2.resize(classes[window], (CROP, CROP), interpolation=cv2.INTER_NEAREST)
    turns = int(rng.integers(4))
    image, truth = np.rot90(image, turns), np.rot90(truth, turns)
    if rng.random() < 0.5:
        image, truth = image[:, ::-1], truth[:, ::-1]
    image = np.ascontiguousarray(image)
    if rng.random() < 0.6:
        image = shifted(image, rng)
    return degraded(image, rng), np.ascontiguousarray(truth)


def loss_of(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, and Dice of the classes that are there."""
    entropy = F.cross_entropy(logits, target)
    p = torch.softmax(logits, 1)
    truth = F.one_hot(target, len(NAMES)).permute(0, 3, 1, 2).float()
    there = truth.sum((0, 2, 3)) > 0
    dice = 1 - (2 * (p * truth).sum((0, 2, 3)) + 1) / (p.sum((0, 2, 3)) + truth.sum((0, 2, 3)) + 1)
    return entropy + 0.5 * dice[there].mean()


def train(args: argparse.Namespace, begun: common.Progress) -> common.Progress:
    """Fit on `--images` fields, each seen many times in other pieces."""
    fields, classes = common.pooled(reduced, range(begun.images, begun.images + args.images), args.processes)
    print(len(fields), "fields", flush=True)
    pieces = 16 * args.images

    def step(net: nn.Module, numbers: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        seed = int(torch.randint(2**31, (1,), generator=generator))
        rng = np.random.default_rng(seed)
        made = [crop(fields[n % args.images], classes[n % args.images], rng) for n in numbers.tolist()]
        images = np.stack([image for image, _ in made]).transpose(0, 3, 1, 2)
        truth = np.stack([truth for _, truth in made]).astype(np.int64)
        net.train()
        return loss_of(net(torch.from_numpy(images).float() / 255.0), torch.from_numpy(truth))

    done = common.fit(
        begun, step, args, images=pieces, device=torch.device("cpu"),
        weight_decay=1e-4, warm_up=50, memory=0.98, clip=5.0,
    )  # fmt: skip
    return common.Progress(done.net, begun.images + args.images, done.steps, done.runs)


def classified(session: Any, rgb: Bytes) -> Bytes:
    """The most probable class of every pixel, in overlapping patches of 256, as the router reads them."""
    size, overlap = 256, 32
    rows, cols = rgb.shape[:2]
    step = size - 2 * overlap
    high, wide = -(-rows // step) * step + 2 * overlap, -(-cols // step) * step + 2 * overlap
    canvas = np.full((high, wide, 3), 255, np.uint8)
    canvas[overlap : overlap + rows, overlap : overlap + cols] = rgb
    made = np.zeros((high, wide), np.uint8)
    for top in range(0, high - 2 * overlap, step):
        for left in range(0, wide - 2 * overlap, step):
            patch = canvas[top : top + size, left : left + size].transpose(2, 0, 1)[None] / np.float32(255)
            best = session.run(None, {"image": patch.astype(np.float32)})[0][0].argmax(0)
            core = best[overlap : size - overlap, overlap : size - overlap]
            made[top + overlap : top + overlap + step, left + overlap : left + overlap + step] = core
    return made[overlap : overlap + rows, overlap : overlap + cols]


def measure(session: Any, count: int) -> list[dict[str, Any]]:
    """Dice of each class, and how far its share of the tissue is off, on held-out fields."""
    pairs: dict[str, npt.NDArray[np.int64]] = {}
    shares = []
    for number in range(HELD_OUT, HELD_OUT + count):
        rgb, truth = reduced(number)
        stain = field_stain(number)
        found = classified(session, rgb)
        both = np.bincount(truth.ravel().astype(np.int64) * 7 + found.ravel(), minlength=49).reshape(7, 7)
        pairs[stain] = pairs.get(stain, np.zeros((7, 7), np.int64)) + both
        tissue = truth > 0
        shares.append([100 * ((found == n)[tissue].mean() - (truth == n)[tissue].mean()) for n in (1, 2, 3)])
    rows: list[dict[str, Any]] = []
    data = "generated fields, held-out numbers 500000+"
    total = np.sum(list(pairs.values()), axis=0)
    for n, name in enumerate(NAMES):
        dice = 2 * total[n, n] / max(total[n].sum() + total[:, n].sum(), 1)
        rows.append({"dataset": data, "metric": f"Dice of {name}", "value": round(float(dice), 3), "n": count})
    for stain, both in sorted(pairs.items()):
        right = np.trace(both[1:, 1:]) / both[1:].sum()
        rows.append({"dataset": f"{data}, {stain}", "metric": "share of tissue pixels with the right class",
                     "value": round(float(right), 3), "n": int(both[1:].sum())})  # fmt: skip
    error = np.abs(np.array(shares)).mean(0)
    for name, value in zip(("tumour", "tubule", "stroma"), error, strict=True):
        rows.append({"dataset": data, "metric": f"error of the share of {name}, mean, percentage points",
                     "value": round(float(value), 1), "n": count})  # fmt: skip
    return rows


def field_stain(number: int) -> str:
    """The stain of a field, without painting a large one: a small field of the same number has the same."""
    return field(number, 200, 1.0, dividing=0.0).stain


def beside_real(session: Any, data: Path) -> list[dict[str, Any]]:
    """What the model says of a real slide, where no truth is known: the shares of its tissue."""
    path = data / "slides" / "cmu-1-small-region.svs"
    if not path.exists():
        print(f"{path} is absent: not looked at")
        return []
    found = classified(session, coarse(real_slide(data)))
    counts = np.bincount(found.ravel(), minlength=len(NAMES))
    n = int(counts[1:].sum())
    return [
        {"dataset": "CMU-1, small region (real H&E, no truth)", "metric": f"share called {name}, percent",
         "value": round(100 * float(counts[k]) / max(n, 1), 1), "n": n}
        for k, name in enumerate(NAMES) if k
    ]  # fmt: skip


def coarse(rgb: Bytes) -> Bytes:
    """A picture of 1 um per pixel at 2 um."""
    size = (rgb.shape[1] // 2, rgb.shape[0] // 2)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def finish(done: common.Progress, args: argparse.Namespace) -> None:
    """Export, measure and describe: everything in the model folder."""
    folder = args.out
    digest = common.write_onnx(
        common.Shipped(done.net, partial(torch.softmax, dim=1)), torch.zeros(1, 3, 256, 256), folder / "model.onnx",
        input_name="image", output_name="classes", dynamic={0: "n", 2: "rows", 3: "columns"},
    )  # fmt: skip
    session = common.runner(folder / "model.onnx")
    rgb, _ = reduced(HELD_OUT + 900_000)
    common.write_selftest(folder, common.on_glass(rgb[120:376, 120:376], 112), decimals=3)
    evidence = measure(session, args.held_out) + beside_real(session, args.data)
    manifest = common.manifest_of(
        name=NAME,
        version=VERSION,
        title="Tissue classes on H&E and H-DAB slides",
        intended_use="demonstration",
        description="Tumour, tumour glands, stroma, normal tissue, necrosis and ink; trained on generated fields only.",
        digest=digest,
        modality="SM",
        stains=["H&E", "H-DAB"],
        given={
            "name": "image", "layout": "NCHW", "channels": 3, "colour": "RGB", "size": [256, 256],
            "spacing_um": UM, "fit": "tile", "overlap": 32, "transpose": False, "range": [0.0, 1.0],
            "mean": None, "std": None, "padding": {"mode": "constant", "value": 255}, "batch": 8,
        },
        head={
            "kind": "segmentation", "output": "classes", "layout": "NCHW", "activation": "none",
            "classes": [
                {"name": name, **({"code": asdict(CODES[name])} if name in CODES else {}), "threshold": 0.5}
                for name in NAMES
            ],
            "exclusive": True,
            "unit": None,
        },
        data=f"{done.images} generated fields (scripts/phantoms/histology.py), no real ones",
        script="tissue_classes.py",
        evidence=evidence,
    )  # fmt: skip
    common.write_manifest(folder, manifest)
    parameters = sum(p.numel() for p in done.net.parameters())
    (folder / "card.md").write_text(card_of(manifest, done, args, parameters), encoding="utf-8")
    for row in evidence:
        print(row)


def make() -> nn.Module:
    return UNet(len(NAMES), WIDTHS)


def main() -> None:
    parser = common.arguments(
        __doc__, NAME, epochs=40, minutes=12.0, images=200, batch=8, rate=3e-3, seed=1, held_out=40
    )
    common.run(parser.parse_args(), make, train, finish)


if __name__ == "__main__":
    main()
