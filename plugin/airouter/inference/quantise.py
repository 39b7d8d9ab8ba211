"""Static 8-bit weights (QDQ) from float32 ones: what ranges the tensors have is seen on real images.

The result is a plain ONNX graph: QuantizeLinear and DequantizeLinear of the standard around the operators, which ONNX
Runtime fuses into its integer kernels. Weights are signed with a range for each channel, activations unsigned.

Weights get 7 of their 8 bits: without VNNI the x86 kernels add two products of 8 bits each in 16 bits, which saturates
(Intel SDM, VPMADDUBSW); with 7 they cannot, and every processor computes the same. The layers that make the output stay
float32: they cost little, and a rounded last layer moves decisions at their threshold.
"""

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import TensorProto, checker, version_converter
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from airouter.errors import NotQuantizable
from airouter.inference import weights
from airouter.inference.session import FAILURES
from airouter.inference.variant import Method

VERSION: Final[str] = onnxruntime.__version__

_METHODS: Final = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}
_PERCENTILE: Final = 99.999  # of 65,536 activations of a map this leaves out the most extreme one or none
_WITH_WEIGHTS: Final = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_OPERATORS: Final = (
    *_WITH_WEIGHTS,
    # what lies between them stays in 8 bits too, or each layer would be converted forth and back
    *("Add", "Mul", "Relu", "Clip", "LeakyRelu", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize"),
    *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Pad", "Split", "Slice"),
)
_QUANTISED: Final = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger")
_OPSET: Final = 13  # the first whose DequantizeLinear has a scale for each channel


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # untyped library
    """One tensor at a time; asked for by ranges so that no more than one run's activations are held."""

    def __init__(self, name: str, tensors: Iterator[NDArray[np.float32]], count: int) -> None:
        self._name = name
        self._tensors = tensors
        self._count = count
        self._left = 0

    def __len__(self) -> int:
        return self._count

    def set_range(self, start_index: int, end_index: int) -> None:
        self._left = end_index - start_index

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        if not self._left:
            return None
        self._left -= 1
        tensor = next(self._tensors, None)
        return None if tensor is None else {self._name: tensor}


def require(checked: weights.Weights) -> None:
    """Raises NotQuantizable, with the reason, for weights that nothing can or need be done with."""
    _parsed(checked)


def quantised(
    checked: weights.Weights, name: str, tensors: Iterator[NDArray[np.float32]], count: int, method: Method
) -> bytes:
    """The ONNX file of 8-bit weights. `tensors`: `count` float32 tensors for the input `name`, each read once.

    Raises NotQuantizable where the model cannot be quantised.
    """
    proto = _parsed(checked)
    with tempfile.TemporaryDirectory(prefix="airouter-quantize-") as folder:
        before, after = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        try:
            prepared = _prepared(proto, Path(folder) / "optimised.onnx")
            onnx.save(prepared, str(before))
            with contextlib.redirect_stdout(io.StringIO()):  # the calibrators print
                quantize_static(
                    str(before),
                    str(after),
                    _Reader(name, tensors, count),
                    quant_format=QuantFormat.QDQ,
                    op_types_to_quantize=list(_OPERATORS),
                    nodes_to_exclude=_last(prepared),
                    per_channel=True,
                    reduce_range=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    calibrate_method=_METHODS[method],
                    # ranges are merged after every tensor instead of keeping all activations of all of them
                    extra_options={"CalibStridedMinMax": 1, "CalibPercentile": _PERCENTILE},
                )
            made = _standard(onnx.load(str(after)))
            checker.check_model(made)
        except (ValueError, TypeError, NotImplementedError, checker.ValidationError, *FAILURES) as error:
            raise NotQuantizable(f"ONNX Runtime cannot quantise the model: {' '.join(str(error).split())}") from error
    if (reason := weights.foreign(made)) is not None:
        raise NotQuantizable(f"the quantised model would be refused: {reason}")
    if not any(node.op_type == "QuantizeLinear" for node in made.graph.node):
        raise NotQuantizable("nothing of the model could be quantised")
    return bytes(made.SerializeToString())


def _parsed(checked: weights.Weights) -> Any:
    """The model, from opset 13 on."""
    try:
        proto = onnx.load_model_from_string(checked.data)
        kinds = {node.op_type for node in proto.graph.node}
        if kinds & set(_QUANTISED) or any(kind.startswith("QLinear") for kind in kinds):
            raise NotQuantizable("the model's weights are quantised already")
        if any(tensor.element != TensorProto.FLOAT for tensor in (*checked.inputs, *checked.outputs)):
            raise NotQuantizable("the model's input or output is not float32: quantise the float32 model it came from")
        if not kinds & set(_WITH_WEIGHTS):
            raise NotQuantizable(f"the model has none of the operators {', '.join(_WITH_WEIGHTS)}")
        if _opset(proto) < _OPSET:
            proto = version_converter.convert_version(proto, _OPSET)
    except (DecodeError, RuntimeError, ValueError, version_converter.ConvertError) as error:
        raise NotQuantizable(f"the model cannot be brought to opset {_OPSET}: {error}") from error
    return proto


def _opset(proto: Any) -> int:
    return max((int(entry.version) for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def _prepared(proto: Any, path: Path) -> Any:
    """The same with batch normalisations folded into convolutions and a name for each node.

    ONNX Runtime's basic level rewrites within the standard; the levels above it bring operators of its own.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    options.add_session_config_entry("session.load_model_format", "ONNX")
    onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    prepared = onnx.load(str(path))
    for number, node in enumerate(prepared.graph.node):
        node.name = f"{node.op_type}_{number}"
    mark = prepared.metadata_props.add()  # else the quantiser advises to do what was just done
    mark.key, mark.value = "onnx.quant.pre_process", "onnxruntime.quant"
    return prepared


def _last(proto: Any) -> list[str]:
    """Names of the nodes with weights between which and the output there is no other, and of all behind them.

    Empty where there are no others: then these are quantised, or nothing would be.
    """
    makers = {name: node for node in proto.graph.node for name in node.output}
    waiting = [output.name for output in proto.graph.output]
    found: dict[str, Any] = {}
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.name in found:
            continue
        found[node.name] = node
        if node.op_type not in _WITH_WEIGHTS:
            waiting += node.input
    if all(node.name in found for node in proto.graph.node if node.op_type in _WITH_WEIGHTS):
        return []
    return list(found)


def _standard(proto: Any) -> Any:
    """Without the domains that ONNX Runtime declares whether a model uses them or not."""
    used = {node.domain for node in proto.graph.node} | {""}
    kept = [entry for entry in proto.opset_import if entry.domain in used]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)
    return proto
