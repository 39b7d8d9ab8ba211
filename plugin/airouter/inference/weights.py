"""Weights are read once; what is hashed and inspected is what is loaded.

ONNX may point outside its own file (external data) and may call operators that bring their own code (custom domains).
Neither is ever followed: a model that contains one anywhere is refused, used or not. A file swapped or changed after
it was read changes nothing, since no path is opened a second time.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]

from airouter.errors import ModelRefused

MOST_BYTES: Final = 2 * 1024**3  # default size cap; a protobuf message cannot be larger either
STANDARD_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml"})


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Name, element type (onnx.TensorProto.DataType) and shape; None for a free dimension, shape None where unsaid."""

    name: str
    element: int
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class Weights:
    """Checked bytes of an ONNX file with what its graph says of inputs and outputs. The bytes are what ORT gets."""

    data: bytes = field(repr=False)
    sha256: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


def load(path: Path, sha256: str, most_bytes: int = MOST_BYTES, said_by: str = "the manifest") -> Weights:
    """Read an ONNX file once and check it.

    Raises ModelRefused for a file that cannot be read, is larger than `most_bytes`, has another SHA-256 (hexadecimal)
    than said, is no ONNX model, keeps tensors outside the file, or uses operators of other domains than the standard's.
    """
    data = read(path, most_bytes)
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise ModelRefused(f"{path}: sha256 is {digest}, {said_by} says {sha256}")
    return _inspected(data, digest, str(path))


def inspect(data: bytes, named: str) -> Weights:
    """Check the bytes of an ONNX file; `named` is what messages call it. Raises ModelRefused as `load` does."""
    return _inspected(data, hashlib.sha256(data).hexdigest(), named)


def _inspected(data: bytes, digest: str, named: str) -> Weights:
    try:
        proto = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise ModelRefused(f"{named}: not an ONNX model: {error}") from error
    reason = foreign(proto)
    if reason is not None:
        raise ModelRefused(f"{named}: {reason}")
    given = {tensor.name for tensor in proto.graph.initializer}  # before IR version 4 these are listed as inputs too
    return Weights(
        data=data,
        sha256=digest,
        inputs=tuple(_info(v) for v in proto.graph.input if v.name not in given),
        outputs=tuple(_info(v) for v in proto.graph.output),
    )


def read(path: Path, most_bytes: int) -> bytes:
    """A regular file's bytes, read through one descriptor. A link may lead to it: the digest decides, not the path.

    Raises ModelRefused where it cannot be read or is larger.
    """
    try:
        # O_NONBLOCK: opening a pipe put in the model's place must not hang.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise ModelRefused(f"{path}: not a regular file")
            data = stream.read(most_bytes + 1)
    except OSError as error:
        raise ModelRefused(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > most_bytes:
        raise ModelRefused(f"{path}: larger than {most_bytes} bytes")
    return data


def foreign(proto: onnx.ModelProto) -> str | None:
    """Why a model must not be loaded, or None. Looks at every message: graphs, attributes, subgraphs, functions."""
    for message in _walk(proto):
        if isinstance(message, onnx.TensorProto):
            if message.data_location == onnx.TensorProto.EXTERNAL or message.external_data:
                return f"tensor {message.name!r} keeps its data outside the file"
        elif isinstance(message, onnx.NodeProto):
            if message.domain not in STANDARD_DOMAINS:
                return f"operator {message.domain}.{message.op_type} is not of the ONNX standard"
        elif isinstance(message, onnx.FunctionProto) and message.domain not in STANDARD_DOMAINS:
            return f"function {message.domain}.{message.name} is not of the ONNX standard"
    return None


def _walk(root: Message) -> Iterator[Any]:
    """A message and all messages in it, however deep; tensors are not entered (nothing but numbers is in them)."""
    waiting = [root]
    while waiting:
        message = waiting.pop()
        yield message
        if isinstance(message, onnx.TensorProto):
            continue
        for descriptor, value in message.ListFields():
            if descriptor.message_type is not None:
                waiting.extend([value] if isinstance(value, Message) else value)


def _info(value: onnx.ValueInfoProto) -> TensorInfo:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return TensorInfo(value.name, tensor.elem_type, None)
    sizes = (d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
    return TensorInfo(value.name, tensor.elem_type, tuple(size if size and size > 0 else None for size in sizes))
