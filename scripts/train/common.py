"""What the training scripts share: seeding, a time budget, and writing a model folder.

torch is needed here and nowhere in the product.
"""

import hashlib
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
import yaml

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


def write_selftest(folder: Path, inputs: npt.NDArray[np.float32]) -> None:
    """Write selftest.npz: an input tensor and what ONNX Runtime makes of it, to four decimals (it compresses)."""
    session = runner(folder / "model.onnx")
    (output,) = session.run(None, {session.get_inputs()[0].name: inputs})
    np.savez_compressed(folder / "selftest.npz", input=inputs, output=output.round(4))


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write manifest.yaml, keys in the order given."""
    text = yaml.safe_dump(dict(manifest), sort_keys=False, allow_unicode=True, width=120)
    (folder / "manifest.yaml").write_text(text, encoding="utf-8")


def evidence_table(evidence: Sequence[Mapping[str, Any]]) -> str:
    """The evidence of a manifest as a Markdown table for the card."""
    lines = ["| data | metric | value | n |", "|---|---|---|---|"]
    lines += [f"| {e['dataset']} | {e['metric']} | {e['value']} | {e['n']} |" for e in evidence]
    return "\n".join(lines)
