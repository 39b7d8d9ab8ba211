"""Train, measure and write the reference model `slide-embedding`: fields of tissue as vectors that lie near each other
where the tissue looks alike.

    python scripts/train/slide_embedding.py --minutes 8

Nobody labels anything: two views of one place, each in dyes of its own strength, turned, scaled and by its own optics,
must lie nearer to each other than views of other places (supervised contrastive loss with the place as label: Khosla P
et al. Supervised contrastive learning. NeurIPS 2020; with one pair of each place it is that of Chen T et al. A simple
framework for contrastive learning of visual representations. ICML 2020).
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "plugin"), str(ROOT / "scripts"), str(ROOT / "scripts" / "train")]

import common  # noqa: E402
import slide_embedding_fields as fields_of  # noqa: E402
from slide_embedding_fields import SIDE  # noqa: E402

from phantoms.slide import slide  # noqa: E402

NAME, VERSION = "slide-embedding", "1.0.0"
VALUES = 64
TEMPERATURE = 0.15
SPACING_UM = 1.0

Fields = Sequence[NDArray[np.uint8]]
Embed = Callable[[Fields], NDArray[np.float32]]


class Encoder(nn.Module):
    """[N, 3, 128, 128] RGB in 0..1 -> [N, 64] of length 1: four strided blocks, mean and deviation over the field."""

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96, 128)) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for k, (before, n) in enumerate(zip((3, *widths[:-1]), widths, strict=True)):
            size = 5 if k == 0 else 3
            stages += [
                nn.Conv2d(before, n, size, 2, size // 2, bias=False), nn.BatchNorm2d(n), nn.ReLU(inplace=True),
            ]  # fmt: skip
            if k:
                stages += [nn.Conv2d(n, n, 3, 1, 1, groups=n, bias=False), nn.Conv2d(n, n, 1, bias=False)]
                stages += [nn.BatchNorm2d(n), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*stages)
        self.head = nn.Linear(2 * widths[-1], VALUES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body((1.0 - x) / 0.25)  # glass is 0, as the zeros of padding are
        mean = y.mean(dim=(2, 3))
        deviation = ((y - mean[:, :, None, None]) ** 2).mean(dim=(2, 3)).add(1e-5).sqrt()
        made: torch.Tensor = functional.normalize(self.head(torch.cat([mean, deviation], dim=1)), dim=1)
        return made


def contrast(first: torch.Tensor, second: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Supervised contrastive loss of [n, values] twice with the number of the place [n]."""
    z, label = torch.cat([first, second]), torch.cat([place, place])
    own = torch.eye(len(z), dtype=torch.bool)
    logits = (z @ z.T / TEMPERATURE).masked_fill(own, -1e9)
    same = (label[:, None] == label[None, :]) & ~own
    spread = logits.log_softmax(dim=1)
    return -((spread * same).sum(dim=1) / same.sum(dim=1)).mean()


def train(args: argparse.Namespace, begun: common.Progress) -> common.Progress:
    device = common.seed_everything(args.seed)
    begin = time.time()
    make = functools.partial(fields_of.pair, data=args.data)
    first, second, place = common.pooled(make, range(begun.images, begun.images + args.images), args.processes)
    a, b = torch.from_numpy(np.stack(first)), torch.from_numpy(np.stack(second))
    where = torch.tensor(place)
    print(f"{len(a)} pairs in {time.time() - begin:.0f} s", flush=True)

    def loss(net: nn.Module, pick: torch.Tensor, g: torch.Generator) -> torch.Tensor:
        views = []
        for pictures in (a, b):
            x = pictures[pick].permute(0, 3, 1, 2).float() / 255.0
            if torch.rand(1, generator=g) < 0.5:
                x = x.flip(3)
            if torch.rand(1, generator=g) < 0.5:
                x = x.transpose(2, 3)
            gain = torch.empty(len(pick), 3, 1, 1).uniform_(0.94, 1.06, generator=g)
            views.append((x * gain).clamp(0.0, 1.0))
        both = net(torch.cat(views).to(device)).cpu()
        return contrast(both[: len(pick)], both[len(pick) :], where[pick])

    return common.fit(begun, loss, args, images=len(a), device=device, weight_decay=1e-3, warm_up=20, memory=0.98)


# --- what the exported file answers, and what plain colour would ---


def tensor(pictures: Fields) -> NDArray[np.float32]:
    return np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255.0)


def embedder(path: Path) -> Embed:
    session = common.runner(path)

    def embed(pictures: Fields) -> NDArray[np.float32]:
        parts = [session.run(None, {"image": tensor(pictures[n : n + 16])})[0] for n in range(0, len(pictures), 16)]
        return np.concatenate(parts)

    return embed


def colour(pictures: Fields) -> NDArray[np.float32]:
    """What there is to beat: mean and deviation of each colour, made comparable over the set, at length 1."""
    plain = np.array([[*p.mean(axis=(0, 1)), *p.std(axis=(0, 1))] for p in pictures])
    plain = (plain - plain.mean(axis=0)) / (plain.std(axis=0) + 1e-9)
    return np.asarray(plain / np.linalg.norm(plain, axis=1, keepdims=True), np.float32)


def precision(
    vectors: NDArray[np.float32], labels: Sequence[int], k: int, origins: Sequence[int] | None = None
) -> float:
    """Of the k nearest others, the share of the same label, mean over all; none of its own origin counts."""
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    if origins is not None:
        origin = np.array(origins)
        similarity[origin[:, None] == origin] = -np.inf
    nearest = np.argsort(-similarity, axis=1)[:, :k]
    label = np.array(labels)
    return float((label[nearest] == label[:, None]).mean())


def found_first(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> float:
    """Share of the queries whose own number is the nearest of the gallery."""
    return float(((queries @ gallery.T).argmax(axis=1) == np.arange(len(queries))).mean())


def near_on_glass(vectors: NDArray[np.float32], places: Sequence[tuple[int, int]], k: int, within: float) -> Any:
    """Of the k nearest fields that share no pixel with it, the share within so many um; and that of all such fields."""
    at = np.array(places, float) * SPACING_UM
    apart = np.abs(at[:, None] - at[None]).max(axis=2)
    free = apart >= SIDE * SPACING_UM
    close = np.hypot(*(at[:, None] - at[None]).transpose(2, 0, 1)) <= within
    similarity = np.where(free, vectors @ vectors.T, -np.inf)
    nearest = np.argsort(-similarity, axis=1)[:, :k]
    return float(np.take_along_axis(close, nearest, axis=1).mean()), float(close[free].mean())


def evidence_of(path: Path, data: Path, each: int) -> list[dict[str, Any]]:
    """Figures of the exported file on what training never saw, those of plain colour beside them."""
    test = fields_of.tiles(data / "nuclei", "test")
    halves, tile = fields_of.halves(test)
    middles, restained = fields_of.middles(test), fields_of.restained(test, 7)
    generated, kind = fields_of.of_kinds(each)
    tissue, tissues, slides = fields_of.of_tissues(12, 4)
    grid, places = fields_of.held_out_grid(data)
    rows = []
    dsb = "DSB 2018 H&E tiles, held out"
    for who, embed in (("", embedder(path)), (", plain colour instead of the model", colour)):
        both = embed([*restained, *middles])
        rows += [
            (dsb + who, "other half of the same tile is the nearest of all halves, %",
             100 * precision(embed(halves), tile, 1), len(halves)),
            (dsb + who, "tile restained, turned and by other optics finds itself first, %",
             100 * found_first(both[: len(test)], both[len(test) :]), len(test)),
            (f"generated fields of {len(fields_of.KINDS)} kinds, held-out seeds" + who,
             "of the 5 nearest, of the same kind, %", 100 * precision(embed(generated), kind, 5), len(generated)),
            (f"fields of generated slides, {len(set(tissues))} classes of tissue, held-out seeds" + who,
             "of the 5 nearest on other slides, of the same class, %",
             100 * precision(embed(tissue), tissues, 5, slides), len(tissue)),
        ]  # fmt: skip
        close, chance = near_on_glass(embed(grid), places, 5, 300.0)
        part = "right part of CMU-1, held out"
        rows.append((part + who, "of the 5 nearest apart from it, within 300 um, %", 100 * close, len(grid)))
    rows.append((part, "within 300 um by chance, %", 100 * chance, len(grid)))
    return [{"dataset": d, "metric": m, "value": round(v, 1), "n": n} for d, m, v, n in rows]


def speed(path: Path) -> float:
    """Fields per second of CPU time, one thread."""
    session, one = common.runner(path), np.full((8, 3, SIDE, SIDE), 0.5, np.float32)
    times = []
    for _ in range(20):
        begin = time.process_time()
        session.run(None, {"image": one})
        times.append(time.process_time() - begin)
    return 8 / float(np.median(times))


CARD = """# slide-embedding {version}

Fields of tissue as vectors of {values} values: two fields that look alike point in nearly the same direction. For the
search of similar cases.

**{not_a_device}** Intended use: demonstration. Licence: AGPL-3.0-or-later.
SHA-256 of the weights: `{digest}`.

## What it answers

One RGB field of {side} x {side} pixels at {spacing} um per pixel gives {values} values of length 1. Their dot product
is the similarity, -1 to 1. The values mean nothing one by one, and nothing beside those of another model.
The net has four strided blocks and pools mean and deviation over the field; one CPU thread made {speed:.0f} fields per
second beside other work.

## Training data

{images} pairs of views made by `scripts/train/slide_embedding.py` (seed {seed}, runs: {runs}, {steps} steps of {batch}
pairs). Nobody labelled anything: the two views of a pair show one place, and training brings them together and other
places apart.

- 47 H&E tiles of the 2018 Data Science Bowl, stage 1 (CC0), as they are (30 % of the pairs) and recoloured to other H&E
  or to haematoxylin-DAB (12 %). Their magnification is not published; a pixel of a field is taken for about 1 um.
- The left 60 % of a small region of one public slide, CMU-1 (CC0; 10 %).
- Generated slides: of `scripts/phantoms/histology.py` (28 %; tumour, glands, stroma, benign tissue, necrosis) and of
  `scripts/phantoms/slide.py` (20 %; density, size and stain of nuclei vary, little else).
- Each view is cropped and scaled, turned, mirrored, its dyes made stronger or weaker, its optics worse.

The figures of an earlier, shorter training, without the slides of `histology.py`, and of the first run of this one had
been seen before the last run, so that the table is not wholly blind.

## Evidence

Measured on `model.onnx` with ONNX Runtime on the CPU, by cosine similarity, on what training never saw. "Plain colour"
is the mean and deviation of red, green and blue in place of the model's values: what a trivial method reaches on the
same question. The classes of tissue are those that the generator drew; training did not know them.

{table}

On the one real slide the model does no better than chance, and worse than plain colour: of so small a piece of one
slide the figure says little, but it is no sign that the model would be of use on real slides.

## Limits

- **Alike is not of one diagnosis.** The model knows texture, density and size of nuclei and the stain of few slides. No
  pathologist has judged what it calls similar, and no figure here is about diagnoses.
- A handful of real tiles from few slides, and drawn tissue: organs, types of tumour and scanners were not examined. A
  hospital's own embedding model takes its place by its manifest.
- Tiles of the test set may come from the same slides as tiles of training.
- Stain is told as part of the look: an H&E and an H-DAB slide of one tissue are not near each other.
- Pen, folds, blur and air are tissue to it where the tissue mask lets them through.
- Two slides of a patient, or of one laboratory on one day, look alike for reasons that have nothing to do with disease.

## Making it again

`python scripts/train/slide_embedding.py` trains, measures and writes this folder (seed {seed}; see `--help`).
"""


def finish(done: common.Progress, args: argparse.Namespace) -> None:
    """Export, measure and describe: everything in the model folder."""
    folder = args.out
    digest = common.write_onnx(
        done.net, torch.rand(1, 3, SIDE, SIDE), folder / "model.onnx",
        input_name="image", output_name="embedding", dynamic={0: "N"},
    )  # fmt: skip
    phantom = slide(SIDE, SIDE, SPACING_UM, "H&E", 2500.0, seed=41)
    common.write_selftest(folder, tensor([phantom.rgb & 0xF0]))  # 16 levels of grey: the file stays small
    evidence = evidence_of(folder / "model.onnx", args.data, args.held_out)
    for row in evidence:
        print(row, flush=True)
    manifest = common.manifest_of(
        name=NAME,
        version=VERSION,
        title="Fields of tissue as vectors",
        intended_use="demonstration",
        description="A small contrastive encoder: fields of tissue that look alike get vectors that point alike.",
        digest=digest,
        modality="SM",
        stains=["H&E", "H-DAB"],
        given={
            "name": "image", "layout": "NCHW", "channels": 3, "colour": "RGB", "size": [SIDE, SIDE],
            "spacing_um": SPACING_UM, "fit": "tile", "overlap": 0, "transpose": False, "range": [0.0, 1.0],
            "mean": None, "std": None, "padding": {"mode": "constant", "value": 255}, "batch": 16,
        },
        head={"kind": "embedding", "output": "embedding", "activation": "none", "classes": [], "unit": None},
        data="H&E tiles of the 2018 Data Science Bowl and CMU-1 (CC0), recoloured, and generated slides; no labels",
        script="slide_embedding.py",
        evidence=evidence,
    )  # fmt: skip
    common.write_manifest(folder, manifest)
    text = CARD.format(
        version=VERSION, digest=digest, not_a_device=common.NOT_A_DEVICE, values=VALUES, side=SIDE, spacing=SPACING_UM,
        speed=speed(folder / "model.onnx"), images=done.images, seed=args.seed, steps=done.steps, runs=done.runs,
        batch=args.batch, table=common.evidence_table(evidence),
    )  # fmt: skip
    (folder / "card.md").write_text(text, encoding="utf-8")


def main() -> None:
    parser = common.arguments(
        __doc__, NAME, epochs=60, minutes=8.0, images=4000, batch=96, rate=2e-3, seed=5, held_out=8
    )
    common.run(parser.parse_args(), Encoder, train, finish)


if __name__ == "__main__":
    main()
