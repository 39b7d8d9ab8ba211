"""What the training scripts share: arguments, seeding, a time budget, fitting, and writing a model folder.

torch is needed here and nowhere in the product.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import multiprocessing as mp
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
import yaml
from torch import nn

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = REPOSITORY.parent / "shared" / "data"
MODELS = REPOSITORY / "models"

NOT_A_DEVICE = (
    "This is not a medical device. It is not cleared, certified or validated for diagnosis, and must not be used to "
    "make or support a clinical decision."
)


def seed_everything(seed: int, threads: int = 1) -> torch.device:
    """Seed python, numpy and torch, set the number of CPU threads, and choose a GPU where there is one."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - for libraries that draw from the global generator
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Budget:
    """Wall time that may be spent on training."""

    def __init__(self, minutes: float) -> None:
        self._start = time.monotonic()
        self._seconds = 60.0 * minutes

    def fraction(self) -> float:
        """Part of the time that is spent, 0..1 and beyond."""
        return (time.monotonic() - self._start) / self._seconds


class Block(nn.Sequential):
    """Two 3 x 3 convolutions, each with batch normalisation and ReLU."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(
            nn.Conv2d(inside, outside, 3, padding=1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(inplace=True),
            nn.Conv2d(outside, outside, 3, padding=1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(inplace=True),
        )


class Shipped(nn.Module):
    """A network as it is shipped: its logits are made probabilities inside the graph."""

    def __init__(self, net: nn.Module, probabilities: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.net = net
        self.probabilities = probabilities

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.probabilities(self.net(x))


@dataclass(frozen=True)
class Progress:
    """A network and what it has seen: samples of seeds 0 to images - 1, in so many steps and runs."""

    net: nn.Module
    images: int = 0
    steps: int = 0
    runs: int = 0

    def keep(self, path: Path) -> None:
        torch.save({"net": self.net.state_dict(), "images": self.images, "steps": self.steps, "runs": self.runs}, path)

    @staticmethod
    def load(path: Path, net: nn.Module) -> Progress:
        stored = torch.load(path, weights_only=True)
        net.load_state_dict(stored.pop("net"))
        return Progress(net, **stored)


def arguments(
    description: str | None,
    name: str,
    *,
    epochs: int,
    minutes: float,
    images: int,
    batch: int,
    rate: float,
    seed: int,
    held_out: int,
) -> argparse.ArgumentParser:
    """The options of a script whose samples are numbered by seed and made before training; defaults as given."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of real images")
    parser.add_argument("--out", type=Path, default=MODELS / name, help="model folder to write")
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument(
        "--minutes", type=float, default=minutes, help="training stops here, whatever the epochs; 0: none"
    )
    parser.add_argument("--images", type=int, default=images)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--rate", type=float, default=rate, help="learning rate at its highest")
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--held-out", type=int, default=held_out)
    parser.add_argument("--checkpoint", type=Path, help="keep the trained weights there")
    parser.add_argument("--start", type=Path, help="go on from the weights kept there, with new samples")
    return parser


def run(
    args: argparse.Namespace,
    make: Callable[[], nn.Module],
    train: Callable[[argparse.Namespace, Progress], Progress],
    finish: Callable[[Progress, argparse.Namespace], None],
) -> None:
    """Train a new or a kept network as `arguments` say, keep it where asked, and finish its folder."""
    cv2.setNumThreads(1)
    seed_everything(args.seed)  # before the first weights are drawn
    net = make()
    done = Progress.load(args.start, net) if args.start else Progress(net)
    if args.minutes > 0.0:
        done = train(args, done)
    if args.checkpoint:
        done.keep(args.checkpoint)
    finish(done, args)


def pooled(make: Callable[[int], tuple[Any, ...]], seeds: range, processes: int) -> tuple[tuple[Any, ...], ...]:
    """`make` of every seed, in several processes: one tuple per part of what it gives, in the order of the seeds."""
    with mp.get_context("spawn").Pool(processes) as pool:
        items = pool.map(make, seeds, chunksize=8)
    return tuple(zip(*items, strict=True))


def fit(
    begun: Progress,
    loss_of: Callable[[nn.Module, torch.Tensor, torch.Generator], torch.Tensor],
    args: argparse.Namespace,
    *,
    images: int,
    device: torch.device,
    weight_decay: float,
    warm_up: int,
    memory: float,
    clip: float | None = None,
) -> Progress:
    """Go on training for `--epochs` or `--minutes`, whichever ends first, in one cosine cycle of the learning rate.

    Args:
        begun: the network; it is moved to the device and changed.
        loss_of: loss of the network on the samples of these numbers [batch]; the generator draws all that is random.
        images: how many samples there are.
        warm_up: steps in which the learning rate rises.
        memory: of the running average of the weights, once it has settled; the average is what is kept.
        clip: largest norm of the gradient; None leaves it.
    """
    generator = torch.Generator().manual_seed(args.seed)
    net = begun.net.to(device)
    print(sum(p.numel() for p in net.parameters()), "parameters", flush=True)
    average = copy.deepcopy(net)
    optimiser = torch.optim.AdamW(net.parameters(), lr=args.rate, weight_decay=weight_decay)
    steps, step, running = args.epochs * (images // args.batch), 0, 0.0
    budget = Budget(args.minutes)
    while True:
        order = torch.randperm(images, generator=generator)
        for at in range(0, images - args.batch + 1, args.batch):
            done = max(step / steps, budget.fraction())
            if done >= 1.0:
                return Progress(average.cpu(), begun.images + images, begun.steps + step, begun.runs + 1)
            for group in optimiser.param_groups:
                group["lr"] = args.rate * min(1.0, (step + 1) / warm_up) * (0.5 + 0.5 * np.cos(np.pi * done)) + 1e-5
            loss = loss_of(net, order[at : at + args.batch], generator)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(net.parameters(), clip)
            optimiser.step()
            _average_into(average, net, min(memory, step / (step + 20.0)))
            running = 0.95 * running + 0.05 * loss.item() if step else loss.item()
            step += 1
            if step % 50 == 0:
                print(f"step {step} done {done:.2f} loss {running:.4f}", flush=True)


@torch.no_grad()
def _average_into(average: nn.Module, net: nn.Module, keep: float) -> None:
    """Weights: a part `keep` of the average stays, the rest is the net's. Counters are copied."""
    for a, v in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if a.dtype.is_floating_point:
            a.mul_(keep).add_(v, alpha=1.0 - keep)
        else:
            a.copy_(v)


def write_onnx(
    model: torch.nn.Module,
    example: torch.Tensor,
    path: Path,
    *,
    input_name: str,
    output_name: str,
    dynamic: Mapping[int, str],
    opset: int = 17,
) -> str:
    """Export to one ONNX file without external data and check it.

    Args:
        model: gives one tensor.
        example: an input of the right shape.
        path: the file to write.
        input_name: name of the input.
        output_name: name of the output.
        dynamic: axes of free length, by number, with their names; of the input and the output alike.
        opset: version of the standard operator set.

    Returns:
        SHA-256 of the file, hexadecimal.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    model = model.to("cpu").eval()
    torch.onnx.export(
        model,
        (example,),
        str(path),
        input_names=[input_name],
        output_names=[output_name],
        dynamic_axes={input_name: dict(dynamic), output_name: dict(dynamic)},
        opset_version=opset,
        dynamo=False,  # the tracing exporter folds batch normalisation and needs no further packages
    )
    proto = onnx.load(str(path), load_external_data=False)
    onnx.checker.check_model(proto, full_check=True)
    if any(entry.domain not in ("", "ai.onnx") for entry in proto.opset_import):
        raise ValueError("the model uses operators outside the standard domain")
    return sha256(path)


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def runner(path: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU: what is measured is what is shipped."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def on_glass(rgb: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.float32]:
    """[1, 3, rows, columns] in 0..1: the middle of a picture on white, in few grey values, so that it compresses."""
    out = np.full_like(rgb, 240)
    window = tuple(slice((n - side) // 2, (n + side) // 2) for n in rgb.shape[:2])
    out[window] = rgb[window] & 0xF0
    return np.ascontiguousarray(out.transpose(2, 0, 1)[None] / np.float32(255))


def write_selftest(folder: Path, inputs: npt.NDArray[np.float32], decimals: int = 4) -> None:
    """Write selftest.npz: an input tensor and what ONNX Runtime makes of it, rounded so that it compresses."""
    session = runner(folder / "model.onnx")
    (output,) = session.run(None, {session.get_inputs()[0].name: inputs})
    np.savez_compressed(folder / "selftest.npz", input=inputs, output=output.round(decimals))


def manifest_of(
    *,
    name: str,
    version: str,
    title: str,
    intended_use: str,
    description: str,
    digest: str,
    modality: str,
    given: Mapping[str, Any],
    head: Mapping[str, Any],
    data: str,
    script: str,
    evidence: Sequence[Mapping[str, Any]],
    stains: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """manifest.yaml as a value; `given` is its section `input`, `data` and `script` tell of the training."""
    return {
        "schema": 1,
        "name": name,
        "version": version,
        "title": title,
        "manufacturer": "Orthanc AI Router project",
        "licence": "AGPL-3.0-or-later",
        "intended_use": intended_use,
        "description": description,
        "weights": {"file": "model.onnx", "sha256": digest},
        "reads": {"modality": modality, "sop_classes": [], "stains": list(stains), "laterality": "optional"},
        "input": dict(given),
        "head": dict(head),
        "parameters": dict(parameters or {}),
        "training": {"data": data, "script": f"scripts/train/{script}"},
        "evidence": list(evidence),
    }


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write manifest.yaml, keys in the order given."""
    text = yaml.safe_dump(dict(manifest), sort_keys=False, allow_unicode=True, width=120)
    (folder / "manifest.yaml").write_text(text, encoding="utf-8")


def evidence_table(evidence: Sequence[Mapping[str, Any]]) -> str:
    """The evidence of a manifest as a Markdown table for the card."""
    lines = ["| data | metric | value | n |", "|---|---|---|---|"]
    lines += [f"| {e['dataset']} | {e['metric']} | {e['value']} | {e['n']} |" for e in evidence]
    return "\n".join(lines)
