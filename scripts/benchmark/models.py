"""The models that are measured: ResNet-18 and MobileNetV2 as ONNX graphs with random weights.

Speed does not depend on what a network has learnt, so nothing is fetched. The architectures are those of He K et al.,
Deep residual learning for image recognition, CVPR 2016, and Sandler M et al., MobileNetV2: inverted residuals and
linear bottlenecks, CVPR 2018, in the layout and with the names of torchvision's state dicts: other software is given
the very same numbers. The last layer is scaled so that the answers differ from patch to patch: a contender that mixes
patches up, or reads other pixels, then gives other answers and is found out.
"""

import hashlib
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnx
import onnxruntime
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from airouter.domain import codes
from airouter.domain.model import Model
from airouter.inference import manifest, preprocess
from benchmark.slides import tissue_tiles

Kind = Literal["resnet18", "mobilenet_v2", "mobilenet_v2_035"]

SIZE: Final = 256  # px
SPACING_UM: Final = 0.5
BATCH: Final = 8
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as most published models have it
TITLES: Final[Mapping[Kind, str]] = {
    "resnet18": "ResNet-18",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v2_035": "MobileNetV2 0.35",
}
INPUT, OUTPUT = "image", "logits"

_OPSET, _IR = 17, 8
_SEED: Final = 20
_SPREAD: Final = 1.5  # standard deviation of the difference between the logits of two classes, over tissue patches
_CODES: Final = (codes.NEOPLASM, codes.CONNECTIVE_TISSUE, codes.NECROSIS)


def name_of(kind: Kind) -> str:
    """The model folder's name."""
    return f"bench-{kind.replace('_', '-')}"


def graph(kind: Kind, classes: int = 2) -> onnx.ModelProto:
    """The graph of a kind, from [N, 3, 256, 256] float32 to [N, classes] logits, with freshly drawn weights."""
    if kind == "resnet18":
        return resnet18(classes)
    return mobilenet_v2(classes, 1.0 if kind == "mobilenet_v2" else 0.35)


def folder(kind: Kind, models: Path, *, workers: int | None = None, classes: int = 2, **keys: Any) -> Path:
    """Make the model folder of a kind below `models`: weights, manifest and card; at most three classes.

    `workers` becomes the pipeline's parameter, `keys` are further keys of the manifest. A folder that is there already
    is made anew.
    """
    name = name_of(kind)
    where = models / name
    where.mkdir(parents=True, exist_ok=True)
    content = _manifest(kind, name, classes, {} if workers is None else {"workers": workers}, keys)
    (where / "card.md").write_text(f"# {TITLES[kind]}, random weights\n\nFor measuring speed. It knows nothing.\n")
    _write_manifest(where, content)
    data = _answering(graph(kind, classes), manifest.load(where)).SerializeToString()
    (where / "model.onnx").write_bytes(data)
    content["weights"]["sha256"] = hashlib.sha256(data).hexdigest()
    _write_manifest(where, content)
    return where


def _write_manifest(where: Path, content: Mapping[str, Any]) -> None:
    (where / manifest.FILE).write_text(yaml.safe_dump(dict(content), sort_keys=False), encoding="utf-8")


def _manifest(
    kind: Kind, name: str, classes: int, parameters: Mapping[str, Any], keys: Mapping[str, Any]
) -> dict[str, Any]:
    coded = [
        {"name": code.meaning.lower(), "code": {"value": code.value, "scheme": code.scheme, "meaning": code.meaning}}
        for code in _CODES[:classes]
    ]
    return {
        "schema": 1,
        "name": name,
        "version": "1.0.0",
        "title": f"{TITLES[kind]} for benchmarks",
        "manufacturer": "Orthanc AI Router project",
        "licence": "AGPL-3.0-or-later",
        "intended_use": "demonstration",
        "description": "Random weights, to measure how fast a model of this architecture runs.",
        "weights": {"file": "model.onnx", "sha256": "0" * 64},
        "reads": {"modality": "SM"},
        "input": {
            "name": INPUT,
            "layout": "NCHW",
            "channels": 3,
            "colour": "RGB",
            "size": [SIZE, SIZE],
            "spacing_um": SPACING_UM,
            "fit": "tile",
            "overlap": 0,
            "range": [0.0, 1.0],
            "mean": list(MEAN),
            "std": list(STD),
            "batch": BATCH,
        },
        "head": {
            "kind": "classification",
            "output": OUTPUT,
            "activation": "softmax",
            "classes": coded,
            "exclusive": True,
        },
        "parameters": dict(parameters),
        **keys,
    }


# --- architectures ---


def resnet18(classes: int = 2, seed: int = _SEED) -> onnx.ModelProto:
    """ResNet-18, with torchvision's names."""
    net = _Net(seed)
    x = net.conv_bn(INPUT, "conv1", "bn1", 3, 64, 7, stride=2, act="Relu")
    x = net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    width = 64
    for layer, block in itertools.product(range(1, 5), range(2)):
        at, out = f"layer{layer}.{block}", 64 << (layer - 1)
        stride = 2 if layer > 1 and block == 0 else 1
        y = net.conv_bn(x, f"{at}.conv1", f"{at}.bn1", width, out, 3, stride=stride, act="Relu")
        y = net.conv_bn(y, f"{at}.conv2", f"{at}.bn2", out, out, 3, gain=0.5)
        if stride > 1:
            x = net.conv_bn(x, f"{at}.downsample.0", f"{at}.downsample.1", width, out, 1, stride=2, gain=1.0)
        x = net.node("Relu", [net.node("Add", [y, x])])
        width = out
    return net.classifier(x, "fc", width, classes)


def mobilenet_v2(classes: int = 2, width: float = 1.0, seed: int = _SEED) -> onnx.ModelProto:
    """MobileNetV2 with a width multiplier, with torchvision's names."""
    net = _Net(seed)
    channels = _divisible(32 * width)
    x = net.conv_bn(INPUT, "features.0.0", "features.0.1", 3, channels, 3, stride=2, act="Clip")
    number = 1
    settings = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    for expand, base, repeats, first_stride in settings:
        out = _divisible(base * width)
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            at, hidden, y, step = f"features.{number}.conv", channels * expand, x, 0
            if expand > 1:
                y = net.conv_bn(y, f"{at}.0.0", f"{at}.0.1", channels, hidden, 1, act="Clip")
                step = 1
            y = net.conv_bn(y, f"{at}.{step}.0", f"{at}.{step}.1", hidden, hidden, 3, stride, hidden, act="Clip")
            y = net.conv_bn(y, f"{at}.{step + 1}", f"{at}.{step + 2}", hidden, out, 1, gain=1.0)
            x = net.node("Add", [x, y]) if stride == 1 and channels == out else y
            channels, number = out, number + 1
    last = _divisible(1280 * max(1.0, width))
    x = net.conv_bn(x, f"features.{number}.0", f"features.{number}.1", channels, last, 1, act="Clip")
    return net.classifier(x, "classifier.1", last, classes)


def _divisible(channels: float, by: int = 8) -> int:
    """Channels rounded to a multiple of eight that is not below nine tenths of what was asked for."""
    rounded = max(by, int(channels + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * channels else rounded


class _Net:
    """Nodes and weights as they are added. Weights: He K et al., Delving deep into rectifiers, ICCV 2015."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._count = itertools.count()

    def node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        output = f"{operator.lower()}_{next(self._count)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def weight(self, name: str, values: NDArray[np.float32]) -> str:
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    def conv_bn(
        self,
        x: str,
        conv: str,
        norm: str,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        *,
        act: Literal["Relu", "Clip"] | None = None,
        gain: float = 2.0,
    ) -> str:
        """Convolution, batch normalisation, activation; `gain` is that of the variance."""
        fan_in = inputs // groups * kernel * kernel
        shape = (outputs, inputs // groups, kernel, kernel)
        drawn = self._random.standard_normal(shape, np.float32) * np.float32(np.sqrt(gain / fan_in))
        pad = kernel // 2
        x = self.node(
            "Conv",
            [x, self.weight(f"{conv}.weight", drawn)],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
            group=groups,
        )
        ones, zeros = np.ones(outputs, np.float32), np.zeros(outputs, np.float32)
        statistics = {"weight": ones, "bias": zeros, "running_mean": zeros, "running_var": ones}
        names = [self.weight(f"{norm}.{key}", values) for key, values in statistics.items()]
        x = self.node("BatchNormalization", [x, *names], epsilon=1e-5)
        if act == "Clip":
            if not any(w.name == "clip.most" for w in self._weights):
                self._weights += [
                    numpy_helper.from_array(np.float32(v), n) for n, v in (("clip.least", 0), ("clip.most", 6))
                ]
            return self.node("Clip", [x, "clip.least", "clip.most"])
        return x if act is None else self.node(act, [x])

    def classifier(self, x: str, name: str, inputs: int, classes: int) -> onnx.ModelProto:
        x = self.node("Flatten", [self.node("GlobalAveragePool", [x])], axis=1)
        drawn = self._random.standard_normal((classes, inputs), np.float32) * np.float32(np.sqrt(1.0 / inputs))
        names = [self.weight(f"{name}.weight", drawn), self.weight(f"{name}.bias", np.zeros(classes, np.float32))]
        self._nodes.append(helper.make_node("Gemm", [x, *names], [OUTPUT], transB=1))
        made = helper.make_graph(
            self._nodes,
            "benchmark",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", classes])],
            self._weights,
        )
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
        onnx.checker.check_model(model)
        return model


def _answering(proto: onnx.ModelProto, model: Model) -> onnx.ModelProto:
    """The last layer scaled and shifted so that the classes are about equally frequent on generated tissue.

    Untrained networks give nearly the same answer whatever they see: what differs is drawn out here.
    """
    tiles = tissue_tiles()[::4]
    tensor = np.empty(preprocess.tensor_shape(model.input, len(tiles), SIZE, SIZE), np.float32)
    preprocess.fill(tensor, tiles, model.input)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    logits = np.concatenate(
        [session.run([OUTPUT], {INPUT: tensor[i : i + BATCH]})[0] for i in range(0, len(tiles), BATCH)]
    )
    scale = np.float32(_SPREAD * np.sqrt(0.5)) / logits.std(axis=0)
    gemm = next(node for node in proto.graph.node if node.op_type == "Gemm")
    for tensor_proto in proto.graph.initializer:
        values = numpy_helper.to_array(tensor_proto)
        if tensor_proto.name == gemm.input[1]:
            tensor_proto.CopyFrom(numpy_helper.from_array(values * scale[:, None], tensor_proto.name))
        elif tensor_proto.name == gemm.input[2]:
            tensor_proto.CopyFrom(numpy_helper.from_array(-logits.mean(axis=0) * scale, tensor_proto.name))
    return proto
