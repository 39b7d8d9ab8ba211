"""Train `fundus-quality`: can this fundus photograph be graded, and if not, why.

Training data: phantoms (scripts/phantoms/fundus.py), three real photographs that are good enough to grade, all of them
as they are and spoiled by known degraders, and pictures that are no fundus photograph. Two real photographs, one good
and one poor, are kept out of training entirely.

    python scripts/train/fundus_quality.py --epochs 14 --minutes 8
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "scripts" / "train")]

import common  # noqa: E402

from phantoms import fundus as phantom  # noqa: E402
from phantoms import oct as phantom_oct  # noqa: E402

NAME, VERSION = "fundus-quality", "1.0.0"
SIZE = 224
CLASSES = ("gradable", *phantom.REASONS, "not-a-fundus")
HELD_OUT = 10_000_000  # seeds from here on are never trained on

# Photographs that a reader can grade, with disc and macula (x, y) as fractions of width and height, read by eye.
TRAIN = {
    "example1.jpg": ((0.26, 0.50), (0.68, 0.52)),
    "retina.jpg": ((0.16, 0.46), (0.50, 0.50)),
    "drimdb_example.jpg": ((0.54, 0.56), (0.22, 0.60)),
}
KEPT_OUT_GOOD = {"example2.jpg": ((0.15, 0.48), (0.55, 0.51))}
KEPT_OUT_POOR = "fundus1.jpg"


def letterbox(rgb: NDArray[np.uint8], size: int = SIZE) -> NDArray[np.uint8]:
    """Whole picture into a square, aspect kept, centred on black."""
    rows, cols = rgb.shape[:2]
    scale = size / max(rows, cols)
    r, c = max(1, round(rows * scale)), max(1, round(cols * scale))
    small = cv2.resize(rgb, (c, r), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    out = np.zeros((size, size, 3), np.uint8)
    out[(size - r) // 2 : (size - r) // 2 + r, (size - c) // 2 : (size - c) // 2 + c] = small
    return out


@functools.cache
def photograph(path: Path) -> NDArray[np.uint8]:
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise FileNotFoundError(f"{path} is missing or not a picture: get the data folder, see --data")
    scale = 640 / max(bgr.shape[:2])
    bgr = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(bgr[..., ::-1])


def _another(rgb: NDArray[np.uint8], rng: np.random.Generator, landmarks: list[tuple[float, float]]) -> Any:
    """The same eye by another camera: turned, mirrored, zoomed a little, other colour. Landmarks move with it."""
    rows, cols = rgb.shape[:2]
    angle = float(rng.uniform(-25, 25)) if rng.random() < 0.7 else 0.0
    m = cv2.getRotationMatrix2D((cols / 2, rows / 2), angle, float(rng.uniform(0.85, 1.08)))
    if rng.random() < 0.5:
        m = m @ np.array([[-1.0, 0, cols - 1], [0, 1, 0], [0, 0, 1]])
    if rng.random() < 0.3:
        m = m @ np.array([[1.0, 0, 0], [0, -1, rows - 1], [0, 0, 1]])
    out = cv2.warpAffine(rgb, m, (cols, rows), flags=cv2.INTER_LINEAR)
    points = [tuple(float(v) for v in m @ np.array([x * cols, y * rows, 1.0])) for x, y in landmarks]
    value = (out.astype(np.float32) / 255.0) ** float(np.exp(rng.uniform(-0.2, 0.2)))
    value *= rng.uniform(0.85, 1.12, 3) * rng.uniform(0.9, 1.08)
    return np.clip(value * 255.0, 0, 255).astype(np.uint8), points


def sample(
    seed: int, data: Path, photographs: dict[str, Any], real: float, kind: str | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float32], str]:
    """A picture [224, 224, 3], its labels [7] and what was done: good, mild, a reason, or not-a-fundus.

    real: share that starts from one of `photographs` instead of a phantom. kind: None draws it.
    """
    cv2.setNumThreads(1)
    rng = np.random.default_rng([17, seed])
    kinds = ["good", "mild", *phantom.REASONS, "not-a-fundus"]
    kind = kind or str(rng.choice(kinds, p=[0.18, 0.24, 0.09, 0.11, 0.1, 0.09, 0.07, 0.12]))
    label = np.zeros(len(CLASSES), np.float32)
    if kind == "not-a-fundus":
        if rng.random() < 0.2:
            grey = phantom_oct.varied(seed).frames[0]
            picture = np.repeat(grey[..., None], 3, axis=2)
        else:
            picture = phantom.not_a_fundus(256, seed)
        label[CLASSES.index(kind)] = 1.0
        return _finish(picture, rng), label, kind

    name = str(rng.choice(list(photographs))) if photographs and rng.random() < real else ""
    if name:
        picture, points = _another(photograph(data / name), rng, list(photographs[name]))
        if kind == "field":
            cut = phantom.off_field(picture, rng, points[0], points[1])
            picture, name = (cut, name) if cut is not None else (picture, "")
        picture = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    if not name:
        side: phantom.Laterality = "R" if rng.random() < 0.5 else "L"
        strength = float(rng.uniform(phantom.SEVERE, 1.0))
        picture = phantom.fundus(288, side, seed, "field" if kind == "field" else None, strength).rgb
    if kind in phantom.DEGRADERS:
        picture = phantom.DEGRADERS[kind](picture, rng, float(rng.uniform(phantom.SEVERE, 1.0)))
    elif kind == "mild":
        for other in rng.choice(list(phantom.DEGRADERS), int(rng.integers(1, 3)), replace=False):
            picture = phantom.DEGRADERS[other](picture, rng, float(rng.uniform(0.05, phantom.MILD)))
    if kind in phantom.REASONS:
        label[CLASSES.index(kind)] = 1.0
    else:
        label[0] = 1.0
    return _finish(picture, rng), label, kind


def _finish(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """As stored: sometimes with a wide black border, sometimes compressed hard."""
    if rng.random() < 0.3:
        pad = [int(v) for v in rng.uniform(0, 0.2, 4) * picture.shape[0]]
        picture = cv2.copyMakeBorder(picture, *pad, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    if rng.random() < 0.5:
        _, packed = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 96))])
        picture = cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1]
    return letterbox(np.ascontiguousarray(picture))


def build(
    seeds: range, data: Path, photographs: dict[str, Any], real: float, processes: int
) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    make = functools.partial(sample, data=data, photographs=photographs, real=real)
    picture, label, kinds = common.pooled(make, seeds, processes)
    return torch.from_numpy(np.stack(picture)), torch.from_numpy(np.stack(label)), list(kinds)


class Residual(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(n, n, 3, padding=1, bias=False), nn.BatchNorm2d(n), nn.ReLU(inplace=True),
            nn.Conv2d(n, n, 3, padding=1, bias=False), nn.BatchNorm2d(n),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(x + self.body(x))


class Quality(nn.Module):
    """[N, 3, 224, 224] RGB in 0..1 -> logits [N, 7]."""

    def __init__(self, widths: tuple[int, ...] = (16, 24, 40, 64, 96)) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        before = 3
        for k, n in enumerate(widths):
            stages += [nn.Conv2d(before, n, 3, 2, 1, bias=False), nn.BatchNorm2d(n), nn.ReLU(inplace=True)]
            if k:
                stages.append(Residual(n))
            before = n
        self.body = nn.Sequential(*stages)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(2 * widths[-1], len(CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body((x - 0.4) / 0.25)
        return self.head(self.drop(torch.cat([y.mean(dim=(2, 3)), y.amax(dim=(2, 3))], dim=1)))


def train(args: argparse.Namespace, begun: common.Progress) -> common.Progress:
    device = common.seed_everything(args.seed)
    begin = time.time()
    picture, label, _ = build(
        range(begun.images, begun.images + args.images), args.data / "fundus", TRAIN, 0.45, args.processes
    )
    print(f"{len(picture)} pictures in {time.time() - begin:.0f} s", flush=True)
    weight = torch.tensor([2.0] + [1.0] * (len(CLASSES) - 1), device=device)

    def loss(net: nn.Module, pick: torch.Tensor, g: torch.Generator) -> torch.Tensor:
        x = picture[pick].permute(0, 3, 1, 2).float() / 255.0
        if torch.rand(1, generator=g) < 0.5:
            x = x.flip(3)
        if torch.rand(1, generator=g) < 0.5:
            x = x.flip(2)
        if torch.rand(1, generator=g) < 0.3:
            x = x.transpose(2, 3)
        gain = torch.empty(len(pick), 3, 1, 1).uniform_(0.92, 1.08, generator=g)
        x = (x * gain).clamp(0.0, 1.0)
        want = label[pick] * 0.98 + 0.01
        each = functional.binary_cross_entropy_with_logits(net(x.to(device)), want.to(device), reduction="none")
        return (each * weight).mean()

    return common.fit(begun, loss, args, images=len(picture), device=device, weight_decay=5e-3, warm_up=40, memory=0.98)


# --- what the exported file answers ---


def tensor(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[N, 224, 224, 3] uint8 -> the ONNX input."""
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255.0)


def ask(session: Any, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    parts = [session.run(None, {"image": tensor(pictures[at : at + 16])})[0] for at in range(0, len(pictures), 16)]
    return np.concatenate(parts)


def confusion(answers: NDArray[np.float32], kinds: list[str]) -> dict[str, tuple[float, int]]:
    """Shares in % with their n: of the poor ones found, of the good ones kept, and for each reason that it is named."""
    gradable = answers[:, 0] >= 0.5
    kind = np.array(kinds)
    good = np.isin(kind, ["good", "mild"])
    out = {
        "sensitivity for not gradable, %": (100.0 * float((~gradable[~good]).mean()), int((~good).sum())),
        "specificity (gradable kept), %": (100.0 * float(gradable[good].mean()), int(good.sum())),
        "specificity, lightly spoiled but gradable, %": (
            100.0 * float(gradable[kind == "mild"].mean()),
            int((kind == "mild").sum()),
        ),
    }
    for reason in CLASSES[1:]:
        these = kind == reason
        if these.any():
            named = answers[these][:, 1:].argmax(axis=1) + 1 == CLASSES.index(reason)
            found = ~gradable[these]
            out[f"{reason}: found not gradable, %"] = (100.0 * float(found.mean()), int(these.sum()))
            out[f"{reason}: named first among the reasons, %"] = (100.0 * float(named.mean()), int(these.sum()))
    return out


def real_pictures(data: Path) -> dict[str, NDArray[np.uint8]]:
    """Real pictures to look at: the photographs, and real pictures that are no fundus photograph."""
    out = {}
    for path in sorted((data / "fundus").glob("*.jpg")):
        out[f"fundus/{path.name}"] = letterbox(photograph(path))
    for name in ("oct/relaynet_notebook_bscan_512.png", "ihc/membranous_dab.png", "ihc/val__Lung1.png"):
        bgr = cv2.imread(str(data / name), cv2.IMREAD_COLOR)
        if bgr is not None:
            square = bgr[:512, :512] if name.startswith("ihc") else bgr
            out[name] = letterbox(np.ascontiguousarray(square[..., ::-1]))
    return out


CARD = """# fundus-quality {version}

Can this fundus photograph be graded, and if not, why.

**{not_a_device}** Intended use: demonstration. Licence: AGPL-3.0-or-later.
SHA-256 of the weights: `{digest}`.

## What it answers
One colour photograph, scaled whole into 224 x 224 with black borders, gives seven probabilities (sigmoid, independent):
`gradable` first, then the reasons: `out-of-focus` (defocus or movement), `illumination` (too dark, too bright, lit from
one side), `low-contrast` (haze), `artefact` (lashes, lid, reflections), `field` (neither disc nor macula in the field),
`not-a-fundus` (another kind of picture). Not gradable means `gradable` below 0.5; the
reasons are those of at least 0.3 then, and the strongest in any case.

## Training data
{images} pictures of 224 x 224, made by `scripts/train/fundus_quality.py` (seed {seed}, runs: {runs}, each
later one with `--start` and new pictures; in all about {steps} steps of {batch}):
- phantoms of `scripts/phantoms/fundus.py` (generated; licence of this repository);
- three real photographs that can be graded: `retina.jpg` (scikit-image, public domain), `example1.jpg` and
  `drimdb_example.jpg` (fundus_image_toolbox, MIT), turned, mirrored, zoomed and recoloured;
- both as they are, lightly spoiled (severity up to 0.35: still labelled gradable), or spoiled for one known reason
  (severity 0.6 to 1: labelled not gradable); in between nothing is labelled, because readers differ there;
- generated pictures that are no fundus photograph: noise, flat colour, text, shapes, stained tissue, phantom B-scans.

Two real photographs, `example2.jpg` (hazy, gradable) and `fundus1.jpg` (poor), were never trained on. They are no blind
test: they had been looked at before the degraders were written, and the uneven-light degrader was changed once and
training continued after the answers of a first run on these two were seen.

## How it was measured
The exported ONNX file, threshold 0.5, on pictures of seeds that training never saw. The rows of the kept-out real
photograph are {real_n} variants of that one photograph, spoiled in the same ways, so they say little about other eyes.
The degraders are those of training: on faults of real cameras the figures will be lower.

{table}

## Real pictures, each as it is
{real}

## Limits
- Demonstration: labels are the degraders' severities, not the judgement of readers; three real photographs are no
  training set, and two are no test set.
- A photograph that is hazy but still gradable lies near the threshold: most variants of the kept-out one are refused
  (see its specificity). A refusal asks for a look or a new photograph; it is not a finding.
- `field` and `out-of-focus` are often taken for another reason: that it is not gradable is surer than why.
- At 224 pixels across, only coarse blur is seen: a defocus that hides microaneurysms can pass as gradable.
- Gradable says nothing of disease. Disease that veils the fundus (dense haemorrhage) may be called low contrast.
- Wide-field, red-free and angiographic pictures were not part of training.
"""


def finish(done: common.Progress, args: argparse.Namespace) -> None:
    """Export, measure and describe: everything in the model folder."""
    folder = args.out
    digest = common.write_onnx(
        common.Shipped(done.net, torch.sigmoid), torch.zeros(1, 3, SIZE, SIZE), folder / "model.onnx",
        input_name="image", output_name="quality", dynamic={0: "N"},
    )  # fmt: skip
    session = common.runner(folder / "model.onnx")
    common.write_selftest(folder, tensor(letterbox(phantom.fundus(320, "L", 41).rgb)[None]))

    where = args.data / "fundus"
    seeds = range(HELD_OUT, HELD_OUT + args.held_out)
    evidence = []
    sets = (
        ("generated pictures, held-out seeds", {}, 0.0),
        ("one real photograph kept out of training", KEPT_OUT_GOOD, 1.0),
    )
    for dataset, photographs, real in sets:
        picture, _, kinds = build(seeds, where, photographs, real, args.processes)
        if real:  # what is no fundus photograph is generated in any case and was counted above
            picture = picture[[k != "not-a-fundus" for k in kinds]]
            kinds = [k for k in kinds if k != "not-a-fundus"]
        answers = ask(session, picture.numpy())
        evidence += [
            {"dataset": dataset, "metric": k, "value": round(v, 1), "n": n}
            for k, (v, n) in confusion(answers, kinds).items()
        ]
        real_n = len(kinds)
    one = tensor(letterbox(phantom.fundus(512, "R", 42).rgb)[None])
    times = []
    for _ in range(30):
        begin = time.process_time()
        session.run(None, {"image": one})
        times.append(time.process_time() - begin)
    evidence.append(
        {
            "dataset": "one phantom, one thread",
            "metric": "pictures per CPU second, model alone",
            "value": round(1 / float(np.median(times)), 1),
            "n": 30,
        }
    )
    lines = ["| picture | in training | " + " | ".join(CLASSES) + " |", "|---" * (len(CLASSES) + 2) + "|"]
    for name, shown in real_pictures(args.data).items():
        answer = ask(session, shown[None])[0]
        used = "yes" if Path(name).name in TRAIN else "no"
        lines.append(f"| {name} | {used} | " + " | ".join(f"{v:.2f}" for v in answer) + " |")
        if Path(name).name in (KEPT_OUT_POOR, *KEPT_OUT_GOOD):
            metric = "probability of gradable"
            evidence.append({"dataset": Path(name).name, "metric": metric, "value": round(float(answer[0]), 3), "n": 1})
    manifest = common.manifest_of(
        name=NAME,
        version=VERSION,
        title="Quality of fundus photographs",
        intended_use="demonstration",
        description="Whether a colour fundus photograph can be graded, and the reasons why not.",
        digest=digest,
        modality="OP",
        given={
            "name": "image", "layout": "NCHW", "channels": 3, "colour": "RGB", "size": [SIZE, SIZE],
            "spacing_um": None, "fit": "letterbox", "transpose": False, "range": [0.0, 1.0],
            "mean": None, "std": None, "padding": {"mode": "constant", "value": 0}, "batch": 8,
        },
        head={
            "kind": "classification", "output": "quality", "activation": "none",
            "classes": [{"name": name, "threshold": 0.3 if k else 0.5} for k, name in enumerate(CLASSES)],
            "exclusive": False,
            "unit": None,
        },
        data=f"{done.images} pictures: generated ones, and three real photographs spoiled in known ways",
        script="fundus_quality.py",
        evidence=evidence,
    )  # fmt: skip
    common.write_manifest(folder, manifest)
    text = CARD.format(
        version=VERSION, digest=digest, not_a_device=common.NOT_A_DEVICE, images=done.images,
        seed=args.seed, steps=done.steps, runs=done.runs,
        batch=args.batch, table=common.evidence_table(evidence), real="\n".join(lines), real_n=real_n,
    )  # fmt: skip
    (folder / "card.md").write_text(text, encoding="utf-8")
    print(text)


def main() -> None:
    parser = common.arguments(
        __doc__, NAME, epochs=20, minutes=8.0, images=3200, batch=32, rate=2e-3, seed=3, held_out=600
    )
    common.run(parser.parse_args(), Quality, train, finish)


if __name__ == "__main__":
    main()
