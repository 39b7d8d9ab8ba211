"""The raw output tensor to what `Predictor.predict` promises, or ModelOutputError."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain.model import Activation, HeadKind, Model
from airouter.errors import ModelOutputError

# A softmax or sigmoid inside the model may leave 0..1 by rounding; more than this is another thing than a probability.
_ROUNDING: Final = 1e-4


def finish(raw: Any, model: Model, count: int, rows: int, columns: int) -> NDArray[np.float32]:
    """Check and bring to order the output for `count` images of rows x columns.

    Segmentation: float32 [count, classes, rows, columns]; classification [count, classes]; both in 0..1.
    Regression, embedding: float32 [count, values]. Raises ModelOutputError.
    """
    head = model.head
    if not isinstance(raw, np.ndarray) or raw.dtype.kind != "f":
        raise ModelOutputError(f"{model.name}: {head.output!r} is not a tensor of floats")
    out: NDArray[np.float32] = raw.astype(np.float32, copy=False)
    segments = head.kind is HeadKind.SEGMENTATION
    out = _maps(out, model, count, rows, columns) if segments else _vectors(out, model, count)
    if out.size == 0:
        raise ModelOutputError(f"{model.name}: {head.output!r} is empty")
    low, high = float(out.min()), float(out.max())  # NaN in, NaN out
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ModelOutputError(f"{model.name}: NaN or infinity in {head.output!r}")
    if head.kind not in (HeadKind.SEGMENTATION, HeadKind.CLASSIFICATION):
        return out
    if head.activation is Activation.SOFTMAX:
        return _softmax(out)
    if head.activation is Activation.SIGMOID:
        return _sigmoid(out)
    if low < -_ROUNDING or high > 1.0 + _ROUNDING:
        raise ModelOutputError(
            f"{model.name}: {head.output!r} holds {low:g}..{high:g}, not probabilities; "
            "if these are logits, head.activation is softmax or sigmoid"
        )
    return np.clip(out, 0.0, 1.0) if low < 0.0 or high > 1.0 else out


def _maps(out: NDArray[np.float32], model: Model, count: int, rows: int, columns: int) -> NDArray[np.float32]:
    """[count, classes, rows, columns] on the image's grid, layout and transposition undone."""
    if out.ndim == 4 and model.head.layout == "NHWC":
        out = np.moveaxis(out, 3, 1)
    if out.ndim == 4 and model.input.transpose:
        out = np.swapaxes(out, 2, 3)
    wanted = (count, len(model.head.classes), rows, columns)
    if out.shape != wanted:
        raise ModelOutputError(f"{model.name}: maps of shape {out.shape} (N, classes, rows, columns), not {wanted}")
    return np.ascontiguousarray(out)


def _vectors(out: NDArray[np.float32], model: Model, count: int) -> NDArray[np.float32]:
    """[count, values]; dimensions of one after those (a pooled map) are dropped, a flat [count] is one value each."""
    if out.ndim == 0 or out.shape[0] != count or any(size != 1 for size in out.shape[2:]):
        raise ModelOutputError(f"{model.name}: {model.head.output!r} has shape {out.shape} for {count} images")
    out = out.reshape(count, out.shape[1] if out.ndim > 1 else 1)
    if model.head.classes and out.shape[1] != len(model.head.classes):
        raise ModelOutputError(f"{model.name}: {out.shape[1]} values for {len(model.head.classes)} classes")
    return out


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Over axis 1. The largest is taken off first so that no exponential overflows."""
    powers: NDArray[np.float32] = np.exp(logits - logits.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + exp(-x)), by way of tanh, which does not overflow."""
    half: NDArray[np.float32] = np.tanh(logits * np.float32(0.5))
    half += np.float32(1.0)
    half *= np.float32(0.5)
    return half
