"""What every contender's script shares. It runs in that software's own environment: nothing of the router is there.

A job is a JSON file: `slide` (DICOM file of the base level), `folder` (all levels), `places` ([x, y] of every patch, in
pixels of the base level), `size` (px), `side` (px of the whole base level), `spacing_um`, `kind` (torchvision's name),
`weights` (NPZ by torchvision's names), `onnx` (the same network), `mean`, `std`, `backend` (torch | onnx), `threads`,
`workers` (of the data loader), `batch`, `answer` (where to write).
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision


class Onnx(torch.nn.Module):
    """The same network run by ONNX Runtime behind the interface of a torch module: NCHW float32 in, logits out."""

    def __init__(self, path: str, threads: int) -> None:
        import onnxruntime

        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        (logits,) = self.session.run(None, {self.input: images.contiguous().numpy()})
        return torch.from_numpy(logits)


def network(job: dict[str, Any]) -> torch.nn.Module:
    """The job's network, with its very weights, ready to run."""
    if job["backend"] == "onnx":
        return Onnx(job["onnx"], job["threads"])
    made = getattr(torchvision.models, job["kind"])(num_classes=job["classes"])
    with np.load(job["weights"]) as arrays:
        state = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    missing, unexpected = made.load_state_dict(state, strict=False)
    left = [name for name in missing if not name.endswith("num_batches_tracked")]
    if left or unexpected:
        raise SystemExit(f"weights do not fit: missing {left}, unexpected {unexpected}")
    return made.eval()


def transform(job: dict[str, Any]) -> torchvision.transforms.Compose:
    """Picture to normalised CHW tensor, in the way all three document."""
    return torchvision.transforms.Compose(
        [torchvision.transforms.ToTensor(), torchvision.transforms.Normalize(job["mean"], job["std"])]
    )


def main(predict: Callable[[dict[str, Any], torch.nn.Module], np.ndarray]) -> None:
    """Run `predict` once on few patches to warm up, then on all of them; write seconds and probabilities."""
    job = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(job["threads"])
    model = network(job)
    predict({**job, "places": job["places"][:16]}, model)
    start = time.perf_counter()
    probabilities = predict(job, model)
    seconds = time.perf_counter() - start
    np.savez(Path(job["answer"]), seconds=seconds, probabilities=np.asarray(probabilities, np.float32))
