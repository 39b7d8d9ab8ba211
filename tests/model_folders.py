"""Model folders for tests: tiny ONNX graphs built in code, and manifests for them."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import yaml
from onnx import TensorProto, helper

Dim = int | str | None


def graph(
    nodes: Sequence[onnx.NodeProto],
    *,
    given: Sequence[Dim] = ("N", 3, "H", "W"),
    gives: Sequence[Dim] | None = None,
    initializers: Sequence[onnx.TensorProto] = (),
    element: int = TensorProto.FLOAT,
    domains: Mapping[str, int] | None = None,
    silent: bool = False,
) -> onnx.ModelProto:
    """A model from `x` to `y`. A silent one does not say the shape of `y`."""
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(d, v) for d, v in (domains or {}).items())]
    content = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", element, given)],
        [helper.make_tensor_value_info("y", element, None if silent else given if gives is None else gives)],
        initializers,
    )
    return helper.make_model(content, opset_imports=opsets, ir_version=8)


def identity(given: Sequence[Dim] = ("N", 3, "H", "W")) -> onnx.ModelProto:
    """What comes in goes out."""
    return graph([helper.make_node("Identity", ["x"], ["y"])], given=given)


def times(factor: float, given: Sequence[Dim] = ("N", 3, "H", "W")) -> onnx.ModelProto:
    """Every value times one number, which may be NaN or infinity."""
    number = helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor])
    return graph([helper.make_node("Mul", ["x", "factor"], ["y"])], given=given, initializers=[number])


def means() -> onnx.ModelProto:
    """[N, 3]: the mean of each channel."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["y"], axis=1),
    ]
    return graph(nodes, gives=["N", 3])


def convnet(
    given: Sequence[Dim] = ("N", 3, "H", "W"), channels: int = 3, *, pooled: bool = False, seed: int = 8
) -> onnx.ModelProto:
    """Three convolutions with batch normalisation and random weights; maps, or with `pooled` [N, channels] of logits.

    Maps are probabilities made by a sigmoid inside. With this seed each of three classes is seen here and there on a
    phantom slide, which most seeds do not give.
    """
    rng = np.random.default_rng(seed)
    nodes: list[onnx.NodeProto] = []
    initializers: list[onnx.TensorProto] = []

    def constant(name: str, values: npt.NDArray[Any]) -> str:
        initializers.append(onnx.numpy_helper.from_array(values.astype(np.float32), name))
        return name

    last, width = "x", 3
    for n, wide in enumerate((8, 16)):
        kernel = constant(f"w{n}", rng.normal(0, np.sqrt(2 / (9 * width)), (wide, width, 3, 3)))
        nodes.append(helper.make_node("Conv", [last, kernel], [f"c{n}"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
        norm = [constant(f"{k}{n}", rng.uniform(0.5, 1.5, wide)) for k in ("scale", "bias", "mean", "var")]
        nodes.append(helper.make_node("BatchNormalization", [f"c{n}", *norm], [f"b{n}"]))
        nodes.append(helper.make_node("Relu", [f"b{n}"], [f"r{n}"]))
        last, width = f"r{n}", wide
    kernel = rng.normal(0, 1, (channels, width, 1, 1))
    kernel -= kernel.mean(axis=1, keepdims=True)  # else most random nets see one class everywhere
    nodes.append(helper.make_node("Conv", [last, constant("w", kernel)], ["maps"]))
    if pooled:
        nodes.append(helper.make_node("GlobalAveragePool", ["maps"], ["mean"]))
        nodes.append(helper.make_node("Flatten", ["mean"], ["y"], axis=1))
        return graph(nodes, given=given, gives=[given[0], channels], initializers=initializers)
    nodes.append(helper.make_node("Sigmoid", ["maps"], ["y"]))
    return graph(nodes, given=given, gives=[given[0], channels, *given[2:]], initializers=initializers)


def manifest(name: str = "stub", **changes: Any) -> dict[str, Any]:
    """A sound manifest of `identity`: three maps of 8 x 8 from RGB. Keys are dotted with two underscores; ... deletes.

    manifest(input__size=[4, 4]) changes input.size.
    """
    content: dict[str, Any] = {
        "schema": 1,
        "name": name,
        "version": "1.0.0",
        "title": "A stub",
        "manufacturer": "Tests",
        "licence": "AGPL-3.0-or-later",
        "intended_use": "demonstration",
        "description": "Gives back what it gets.",
        "weights": {"file": "model.onnx", "sha256": "0" * 64},
        "reads": {"modality": "OP"},
        "input": {
            "name": "x",
            "layout": "NCHW",
            "channels": 3,
            "colour": "RGB",
            "size": [8, 8],
            "fit": "stretch",
            "range": [0.0, 1.0],
        },
        "head": {
            "kind": "segmentation",
            "output": "y",
            "classes": [{"name": "red"}, {"name": "green"}, {"name": "blue"}],
        },
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = content
        for parent in parents:
            place = place[parent]
        if value is ...:
            place.pop(last, None)
        else:
            place[last] = value
    return content


def classes(*names: str) -> list[dict[str, Any]]:
    """Classes without codes."""
    return [{"name": name} for name in names]


def write(
    models: Path,
    content: dict[str, Any] | None = None,
    proto: onnx.ModelProto | bytes | Path | None = None,
    selftest: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None,
) -> Path:
    """A model folder in `models`, its digest filled in. A Path as `proto` is linked to, not copied."""
    content = manifest() if content is None else content
    proto = identity() if proto is None else proto
    folder = models / str(content["name"])
    folder.mkdir(parents=True)
    target = folder / str(content["weights"]["file"])
    if isinstance(proto, Path):
        target.symlink_to(proto.resolve())
    else:
        target.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
    content["weights"]["sha256"] = hashlib.sha256(target.read_bytes()).hexdigest()
    (folder / "manifest.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    (folder / "card.md").write_text("# A stub\n", encoding="utf-8")
    if selftest is not None:
        np.savez(folder / "selftest.npz", input=selftest[0], output=selftest[1])
    return folder
