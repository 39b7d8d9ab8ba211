"""Does the manifest speak of this very graph? Names, element types and every dimension that the graph fixes."""

from collections.abc import Iterator
from typing import Final

from onnx import TensorProto

from airouter.domain.model import Fit, HeadKind, Model
from airouter.errors import ManifestError
from airouter.inference.weights import TensorInfo, Weights

_ELEMENTS: Final = {TensorProto.FLOAT: "float32", TensorProto.FLOAT16: "float16"}


def require(model: Model, weights: Weights) -> None:
    """Raises ManifestError naming each key that the graph contradicts."""
    problems = [*_of_input(model, weights.inputs), *_of_output(model, weights.outputs)]
    if problems:
        raise ManifestError(f"{model.name}: the manifest contradicts the weights: " + "; ".join(problems))


def input_of(model: Model, weights: Weights) -> TensorInfo:
    """The graph's input that the manifest names; `require` has passed."""
    return next(t for t in weights.inputs if t.name == model.input.name)


def element(tensor: TensorInfo) -> str:
    """numpy's name of the element type; `require` has passed."""
    return _ELEMENTS[tensor.element]


def _named(key: str, name: str, tensors: tuple[TensorInfo, ...]) -> tuple[TensorInfo | None, list[str]]:
    found = next((t for t in tensors if t.name == name), None)
    if found is None or len(tensors) != 1:
        have = ", ".join(repr(t.name) for t in tensors) or "none"
        return found, [f"{key}: {name!r} must be the model's only one, it has {have}"]
    return found, [] if found.element in _ELEMENTS else [f"{key}: {name!r} is neither float32 nor float16"]


def _of_input(model: Model, tensors: tuple[TensorInfo, ...]) -> Iterator[str]:
    image = model.input
    tensor, problems = _named("input.name", image.name, tensors)
    yield from problems
    if tensor is None or tensor.shape is None:
        return
    if len(tensor.shape) != 4:
        yield f"input.layout: {image.layout} has four dimensions, {image.name!r} has {len(tensor.shape)}"
        return
    rows, columns, channels = (2, 3, 1) if image.layout == "NCHW" else (1, 2, 3)
    if tensor.shape[channels] not in (None, image.channels):
        yield f"input.channels: is {image.channels}, {image.name!r} has {tensor.shape[channels]} in {image.layout}"
    if tensor.shape[rows] not in (None, image.size[0]) or tensor.shape[columns] not in (None, image.size[1]):
        yield f"input.size: is {list(image.size)}, {image.name!r} has [{tensor.shape[rows]}, {tensor.shape[columns]}]"
    if image.fit is Fit.PAD and (tensor.shape[rows] is not None or tensor.shape[columns] is not None):
        yield f"input.fit: pad gives images of any size, {image.name!r} takes one size only"


def _of_output(model: Model, tensors: tuple[TensorInfo, ...]) -> Iterator[str]:
    head = model.head
    tensor, problems = _named("head.output", head.output, tensors)
    yield from problems
    if tensor is None or tensor.shape is None:
        return
    if head.kind is HeadKind.SEGMENTATION:
        if len(tensor.shape) != 4:
            yield f"head.layout: {head.layout} has four dimensions, {head.output!r} has {len(tensor.shape)}"
            return
        count = tensor.shape[1 if head.layout == "NCHW" else 3]
    else:
        count = tensor.shape[1] if len(tensor.shape) > 1 else 1
    if head.classes and count not in (None, len(head.classes)):
        yield f"head.classes: are {len(head.classes)}, {head.output!r} has {count}"
