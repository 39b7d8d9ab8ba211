"""Train `retina-layers`: the layers of the retina, the kinds of fluid, drusen and the choroid in an OCT B-scan.

All training data are phantoms: macular B-scans (scripts/phantoms/oct_layers.py), circle scans and B-scans near the
optic disc (scripts/phantoms/oct_disc.py). No real B-scan is used for training or for any choice of parameters; the two
real ones under `--data` are only looked at after training (`retina_layers_measure.py`).

    python scripts/train/retina_layers.py --minutes 35

The network is that of `oct-layers` with more rows and classes. The loss is weighed cross entropy on fractional pixels,
Dice of the thin and the rare classes over the batch, and the error in rows of five surfaces, read off the
probabilities as sums over the column.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "plugin"), str(ROOT / "scripts"), str(ROOT / "scripts" / "train")]

import common  # noqa: E402
import retina_layers_card as card  # noqa: E402
import retina_layers_measure as measure  # noqa: E402
from oct_layers import Layers  # noqa: E402

from airouter.domain import codes  # noqa: E402
from airouter.domain.code import Code  # noqa: E402
from phantoms import oct_disc, oct_layers  # noqa: E402
from phantoms.oct_layers import CLASS, CLASSES  # noqa: E402

NAME, VERSION = "retina-layers", "1.0.0"

ROWS, COLS = measure.ROWS, measure.COLS
FINE = 2  # labels are kept with so many rows per row of the model, so that a boundary may cut a pixel

WEIGHT = {
    "vitreous": 1.0, "rnfl": 3.0, "gcl-ipl": 2.5, "outer-retina": 1.5, "rpe": 4.0, "drusen": 14.0, "choroid": 1.0,
    "irf": 10.0, "srf": 8.0, "ped": 5.0,
}  # fmt: skip
# The weights make the rare classes too likely an answer. The shipped graph divides by this power of them; chosen on
# phantoms that are neither trained on nor held out (seeds 5000000 to 5000059).
CORRECTION = 0.5
RARE = tuple(CLASS[name] for name in ("rnfl", "gcl-ipl", "rpe", "drusen", "irf", "srf", "ped"))
# Classes above each surface. Fluid within the retina lies below the IPL but for few cysts.
ABOVE = tuple(tuple(CLASS[c] for c in above) for above in measure.ABOVE.values())

CODES: dict[str, Code] = {
    "rnfl": codes.RNFL_LAYER,
    "gcl-ipl": codes.GCL_IPL_LAYER,
    "outer-retina": codes.OUTER_RETINA_LAYER,
    "rpe": codes.RPE_LAYER,
    "drusen": codes.DRUSEN,
    "choroid": codes.CHOROID,
    "irf": codes.INTRARETINAL_FLUID,
    "srf": codes.SUBRETINAL_FLUID,
    "ped": codes.PIGMENT_EPITHELIAL_DETACHMENT,
}


def draw(seed: int) -> oct_layers.LayerPhantom:
    """One B-scan: seven of ten of the macula, the others around and near the disc."""
    return oct_disc.varied(seed) if seed % 10 in (2, 5, 8) else oct_layers.varied(seed)


def sample(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One B-scan at model size [ROWS, COLS] and its labels [FINE * ROWS, COLS]."""
    cv2.setNumThreads(1)
    p = draw(seed)
    small = cv2.resize(p.frames[0], (COLS, ROWS), interpolation=cv2.INTER_AREA)
    return small, cv2.resize(p.labels[0], (COLS, FINE * ROWS), interpolation=cv2.INTER_NEAREST_EXACT)


def augment(image: torch.Tensor, labels: torch.Tensor, g: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Mirror, zoom and shift in depth, change the brightness. Gives the image and fractional class maps."""
    n = len(image)
    picture, said = image[:, None].float() / 255.0, labels[:, None].float()
    flip = torch.rand(n, generator=g) < 0.5
    picture[flip], said[flip] = picture[flip].flip(3), said[flip].flip(3)
    zoom = torch.exp(torch.empty(n).uniform_(-0.22, 0.22, generator=g))
    tissue = (labels != CLASS["vitreous"]) & (labels != CLASS["choroid"])
    row = torch.arange(labels.shape[1], dtype=torch.float32)[None, :] / FINE
    there = tissue.any(2)
    top = torch.where(there, row, float(ROWS)).amin(1)
    bottom = torch.where(there, row, 0.0).amax(1)
    middle = ROWS / 2
    shift = torch.empty(n).uniform_(-45.0, 45.0, generator=g)
    shift = torch.minimum(shift, ROWS - 6 - ((bottom - middle) * zoom + middle))
    shift = torch.maximum(shift, 6 - ((top - middle) * zoom + middle))
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = 1.0
    theta[:, 1, 1] = 1.0 / zoom
    theta[:, 1, 2] = -shift / (ROWS / 2) / zoom
    grid = functional.affine_grid(theta, list(picture.shape), align_corners=False)
    picture = functional.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=False)
    grid = functional.affine_grid(theta, list(said.shape), align_corners=False)
    said = functional.grid_sample(said, grid, mode="nearest", padding_mode="border", align_corners=False)
    maps = functional.one_hot(said[:, 0].round().long(), len(CLASSES)).float()
    maps = maps.reshape(n, ROWS, FINE, COLS, len(CLASSES)).mean(2).permute(0, 3, 1, 2)
    power = torch.exp(torch.empty(n, 1, 1, 1).uniform_(-0.4, 0.4, generator=g))
    gain = torch.empty(n, 1, 1, 1).uniform_(0.7, 1.2, generator=g)
    noise = torch.empty(n, 1, 1, 1).uniform_(-0.03, 0.05, generator=g).clamp(min=0.0)
    picture = picture.clamp(min=0.0) ** power * gain + torch.randn(picture.shape, generator=g) * noise
    return picture.clamp(0.0, 1.0), maps


def loss_of(logits: torch.Tensor, want: torch.Tensor) -> torch.Tensor:
    """want: fractional class maps [N, 10, rows, cols], as the logits."""
    log_p = functional.log_softmax(logits, dim=1)
    p = log_p.exp()
    weight = torch.tensor([WEIGHT[name] for name in CLASSES])[None, :, None, None]
    share, true = p.sum(2), want.sum(2)  # rows of each class per column
    bare = 1.0 + 3.0 * (true[:, CLASS["rpe"]] < 0.25)  # columns without RPE are few, and easily overlooked
    entropy = (-(weight * want * log_p).sum(1) * bare[:, None]).mean()
    rows = torch.stack([(share[:, above].sum(1) - true[:, above].sum(1)).abs() for above in map(list, ABOVE)])
    rows = torch.where(rows < 40.0, rows, 40.0 + 0.1 * (rows - 40.0))
    # Dice of what is in the batch: of an absent class it would only teach never to answer it.
    here = [i for i in RARE if float(true[:, i].sum()) > 0.0]
    both = (p * want).sum((0, 2, 3))[here]
    dice = 1.0 - (2.0 * both + 20.0) / ((p + want).sum((0, 2, 3))[here] + 20.0)
    return entropy + 0.02 * rows.sum(0).mean() + 0.8 * dice.mean()


def probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Probabilities of the shipped graph: those of the loss, corrected for its weights."""
    weight = torch.tensor([WEIGHT[name] for name in CLASSES]).log()[None, :, None, None]
    return torch.softmax(logits - CORRECTION * weight, dim=1)


def train(args: argparse.Namespace, begun: common.Progress) -> common.Progress:
    device = common.seed_everything(args.seed)
    begin = time.time()
    parts = common.pooled(sample, range(begun.images, begun.images + args.images), args.processes)
    image, labels = (torch.from_numpy(np.stack(part)) for part in parts)
    print(f"{len(image)} phantoms in {time.time() - begin:.0f} s", flush=True)
    begun.net.to(memory_format=torch.channels_last)

    def loss(net: nn.Module, pick: torch.Tensor, g: torch.Generator) -> torch.Tensor:
        x, want = augment(image[pick], labels[pick], g)
        with torch.autocast(device.type, torch.bfloat16):
            logits = net(x.to(device, memory_format=torch.channels_last))
        return loss_of(logits.float().cpu(), want)

    return common.fit(
        begun, loss, args, images=len(image), device=device, weight_decay=1e-3, warm_up=60, memory=0.99, clip=2.0
    )


def finish(done: common.Progress, args: argparse.Namespace) -> None:
    """Export, measure and describe: everything in the model folder."""
    folder = args.out
    digest = common.write_onnx(
        common.Shipped(done.net, probabilities), torch.zeros(1, 1, ROWS, COLS), folder / "model.onnx",
        input_name="bscan", output_name="classes", dynamic={0: "N"},
    )  # fmt: skip
    test = measure.wet_eye(0, bscans=1).frames[0]
    common.write_selftest(folder, measure.fitted(test), decimals=3)
    session = common.runner(folder / "model.onnx")
    evidence = measure.evidence(session, draw, args.held_out, args.data)
    manifest = common.manifest_of(
        name=NAME,
        version=VERSION,
        title="Layers of the retina, fluid and drusen in OCT B-scans",
        intended_use="demonstration",
        description="Retinal layers, intraretinal, subretinal and sub-RPE fluid, and drusen in a B-scan of macula or "
        "optic disc; trained on phantoms only.",
        digest=digest,
        modality="OPT",
        given={
            "name": "bscan", "layout": "NCHW", "channels": 1, "colour": "GRAY", "size": [ROWS, COLS],
            "spacing_um": None, "fit": "stretch", "transpose": False, "range": [0.0, 1.0],
            "mean": None, "std": None, "padding": {"mode": "constant", "value": 0}, "batch": 4,
        },
        head={
            "kind": "segmentation", "output": "classes", "layout": "NCHW", "activation": "none",
            "classes": [
                {"name": name, **({"code": asdict(CODES[name])} if name in CODES else {}), "threshold": 0.5}
                for name in CLASSES
            ],
            "exclusive": True,
            "unit": None,
        },
        data=f"{done.images} generated B-scans (scripts/phantoms/oct_layers.py and oct_disc.py), no real ones",
        script="retina_layers.py",
        evidence=evidence,
    )  # fmt: skip
    common.write_manifest(folder, manifest)
    text = card.text(
        version=VERSION, digest=digest, rows=ROWS, cols=COLS, images=done.images, seed=args.seed, steps=done.steps,
        runs=done.runs, batch=args.batch, held=args.held_out, evidence=evidence,
        hand=measure.beside_hand(session, args.data),
    )  # fmt: skip
    (folder / "card.md").write_text(text, encoding="utf-8")
    print(text)


def main() -> None:
    parser = common.arguments(
        __doc__, NAME, epochs=8, minutes=35.0, images=2000, batch=8, rate=3e-3, seed=3, held_out=200
    )
    common.run(parser.parse_args(), partial(Layers, classes=len(CLASSES)), train, finish)


if __name__ == "__main__":
    main()
