"""Train, measure and write the reference model `cells`: nuclei, their kinds, and mitotic figures.

    python scripts/train/cells.py --data ../shared/data --minutes 22

Needs torch, onnx, onnxruntime, opencv, scikit-image, scipy, PyYAML. Two CPU cores are enough. It begins with the
weights of `models/nuclei`, whose two maps are its first two. Same seed, same epochs, same versions: same weights on the
CPU (`--minutes` must then not cut it short).

Nuclei are learnt from `nuclei/` (the training tiles of the model `nuclei`, DSB 2018 stage 1, CC0) and from generated
fields (`scripts/phantoms/histology.py`); kinds of cell and mitoses from generated fields alone. `ihc/` is measured on
after training and never used before.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
import yaml
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "plugin"), str(ROOT / "scripts"), str(ROOT / "scripts" / "train")]

import common  # noqa: E402
from cells_card import card_of  # noqa: E402
from cells_measure import all_evidence  # noqa: E402
from cells_samples import CLASSES, drawn, generated  # noqa: E402
from nuclei import continue_from  # noqa: E402
from nuclei_measure import SPACING_UM, speed  # noqa: E402
from nuclei_tiles import Tile, load_tiles, part_of  # noqa: E402
from unet import UNet  # noqa: E402

from airouter.domain import codes  # noqa: E402
from airouter.domain.code import Code  # noqa: E402
from phantoms.histology import histology  # noqa: E402

NAME: Final = "cells"
VERSION: Final = "1.0.0"
CODES: Final[dict[str, Code]] = {
    "nucleus": codes.NUCLEUS, "lymphocyte": codes.LYMPHOCYTE, "mitosis": codes.MITOTIC_FIGURE,
}  # fmt: skip
# Mitotic figures hold few pixels: they weigh more.
_KIND_WEIGHT: Final = (1.0, 1.0, 1.5, 1.5, 6.0)


def parts_of(data: Path) -> dict[str, list[Tile]]:
    """The tiles by part, as the model `nuclei` has them."""
    parts: dict[str, list[Tile]] = {"training": [], "validation": [], "test": []}
    for tile in load_tiles(data / "nuclei"):
        parts[part_of(tile.id)].append(tile)
    return parts


def loss_of(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Of nucleus and rim: cross-entropy and Dice, more where nuclei meet. Of the kinds: the same, where known."""
    maps, meeting, kinds, known = target[:, :2], target[:, 2:3], target[:, 3:-1], target[:, -1:]
    weight = 1.0 + 4.0 * meeting + maps[:, 1:] * torch.tensor([1.0, 3.0]).view(1, 2, 1, 1)
    p = torch.sigmoid(logits)
    entropy = (F.binary_cross_entropy_with_logits(logits[:, :2], maps, reduction="none") * weight).mean()
    dice = 1 - (2 * (p[:, :2] * maps).sum((0, 2, 3)) + 1) / (p[:, :2].sum((0, 2, 3)) + maps.sum((0, 2, 3)) + 1)
    heavy = 1.0 + (torch.tensor(_KIND_WEIGHT).view(1, -1, 1, 1) * kinds + 2.0 * maps[:, :1])
    typed = F.binary_cross_entropy_with_logits(logits[:, 2:], kinds, reduction="none") * heavy * known
    q = p[:, 2:] * known
    there = kinds.sum((0, 2, 3)) > 0
    typed_dice = 1 - (2 * (q * kinds).sum((0, 2, 3)) + 1) / (q.sum((0, 2, 3)) + kinds.sum((0, 2, 3)) + 1)
    of_kinds = typed.sum() / (known.sum() * kinds.shape[1] + 1) + 0.2 * typed_dice[there].sum()
    return entropy + 0.5 * dice.sum() + of_kinds


def begin(net: nn.Module, tiles: list[Tile], fields: Any) -> None:
    """Take the weights of the model `nuclei`; maps of kinds begin as half of its map of nuclei."""
    rng = np.random.default_rng(3)
    shown = np.stack([drawn(tiles, fields, rng)[0] for _ in range(16)]).transpose(0, 3, 1, 2)
    old = UNet()
    continue_from(old, common.MODELS / "nuclei" / "model.onnx", torch.from_numpy(shown.copy()).float() / 255.0)
    assert isinstance(net, UNet)
    state = old.state_dict()
    weight, bias = net.head.weight.detach().clone(), net.head.bias
    assert bias is not None
    bias = bias.detach().clone()
    weight[:2], bias[:2] = state["head.weight"], state["head.bias"]
    weight[2:] = 0.5 * state["head.weight"][:1] + 0.3 * weight[2:]
    bias[2:] = state["head.bias"][:1] - 1.5
    net.load_state_dict({**state, "head.weight": weight, "head.bias": bias})


def train(args: argparse.Namespace, begun: common.Progress) -> common.Progress:
    """Fit on the training tiles and `--images` generated fields, each seen many times in other pieces."""
    tiles = parts_of(args.data)["training"]
    (fields,) = common.pooled(generated, range(begun.images, begun.images + args.images), args.processes)
    print(len(fields), "fields", flush=True)
    if not begun.runs:
        begin(begun.net, tiles, fields)

    def step(net: nn.Module, numbers: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        made = [drawn(tiles, fields, rng) for _ in numbers]
        images = np.stack([image for image, _ in made]).transpose(0, 3, 1, 2)
        net.train()
        logits = net(torch.from_numpy(np.ascontiguousarray(images)).float() / 255.0)
        return loss_of(logits, torch.from_numpy(np.stack([target for _, target in made])))

    done = common.fit(
        begun, step, args, images=16 * args.images, device=torch.device("cpu"), weight_decay=1e-4, warm_up=40,
        memory=0.98, clip=5.0,
    )  # fmt: skip
    return common.Progress(done.net, begun.images + args.images, done.steps, done.runs)


def finish(done: common.Progress, args: argparse.Namespace) -> None:
    """Export, measure and describe: everything in the model folder."""
    folder, path = args.out, args.out / "model.onnx"
    digest = common.write_onnx(
        common.Shipped(done.net, torch.sigmoid), torch.zeros(1, 3, 256, 256), path,
        input_name="image", output_name="maps", dynamic={0: "n", 2: "rows", 3: "columns"},
    )  # fmt: skip
    test = histology(256, 256, SPACING_UM, edge=False, seed=11, til=0.1, mitoses_per_mm2=60.0).rgb
    common.write_selftest(folder, common.on_glass(test, 128), decimals=3)
    parts = parts_of(args.data)
    # what the Ki-67 panels are measured with: chosen on training tiles of `nuclei`, and of the dye, not of the network
    threshold = yaml.safe_load((common.MODELS / "nuclei" / "manifest.yaml").read_text())["parameters"]["dab_threshold"]
    evidence = all_evidence(path, parts["test"], args.data, threshold, args.seed, args.held_out)
    manifest = common.manifest_of(
        name=NAME,
        version=VERSION,
        title="Nuclei, kinds of cell and mitoses on H&E and H-DAB slides",
        intended_use="demonstration",
        description="Nuclei and their rims, tumour, lymphocyte, stromal and normal nuclei, mitotic figures; the kinds "
        "were learnt from generated fields only.",
        digest=digest,
        modality="SM",
        stains=["H&E", "H-DAB"],
        given={
            "name": "image", "layout": "NCHW", "channels": 3, "colour": "RGB", "size": [256, 256],
            "spacing_um": SPACING_UM, "fit": "tile", "overlap": 32, "transpose": False, "range": [0.0, 1.0],
            "mean": None, "std": None, "padding": {"mode": "constant", "value": 255}, "batch": 8,
        },
        head={
            "kind": "segmentation", "output": "maps", "layout": "NCHW", "activation": "none",
            "classes": [
                {"name": name, **({"code": asdict(CODES[name])} if name in CODES else {}), "threshold": 0.5}
                for name in CLASSES
            ],
            "exclusive": False,
            "unit": None,
        },
        data=f"H&E tiles of the 2018 Data Science Bowl, stage 1 (CC0), recoloured, for nuclei; {done.images} generated "
        "fields (scripts/phantoms/histology.py) for nuclei, kinds and mitoses",
        script="cells.py",
        evidence=evidence,
    )  # fmt: skip
    common.write_manifest(folder, manifest)
    (folder / "card.md").write_text(card_of(manifest, done, args, parts, speed(path)), encoding="utf-8")
    for row in evidence:
        print(row)


def main() -> None:
    parser = common.arguments(
        __doc__, NAME, epochs=40, minutes=22.0, images=300, batch=8, rate=2e-3, seed=1, held_out=60
    )
    common.run(parser.parse_args(), lambda: UNet(len(CLASSES)), train, finish)


if __name__ == "__main__":
    main()
