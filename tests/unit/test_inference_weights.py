"""The bytes that were checked are the bytes that run; nothing outside them is ever touched."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from airouter.errors import ManifestError, ModelRefused
from airouter.inference import manifest, weights
from airouter.inference.session import Session
from tests.model_folders import Dim, classes, graph, identity, means, times, write
from tests.model_folders import manifest as keys


def load(path: Path, most_bytes: int = weights.MOST_BYTES) -> weights.Weights:
    """With the digest the file has."""
    return weights.load(path, hashlib.sha256(path.read_bytes()).hexdigest(), most_bytes)


def save(folder: Path, model: onnx.ModelProto | bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def outside(name: str = "w", location: str = "other.bin") -> onnx.TensorProto:
    """A tensor of one float that lies in another file."""
    tensor = numpy_helper.from_array(np.ones(1, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "4")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def constant(tensor: onnx.TensorProto, output: str = "w") -> onnx.NodeProto:
    return helper.make_node("Constant", [], [output], value=tensor)


def branches(inside: onnx.NodeProto, output: str) -> onnx.NodeProto:
    """An If whose branches hold one node."""
    value = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    branch = helper.make_graph([inside], "branch", [], [value])
    return helper.make_node("If", ["yes"], ["w"], then_branch=branch, else_branch=branch)


def multiply() -> onnx.NodeProto:
    return helper.make_node("Mul", ["x", "w"], ["y"])


def yes() -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(True), "yes")


def in_initializer() -> onnx.ModelProto:
    return graph([multiply()], initializers=[outside()])


def in_attribute() -> onnx.ModelProto:
    return graph([constant(outside()), multiply()])


def in_subgraph() -> onnx.ModelProto:
    return graph([branches(constant(outside(), "v"), "v"), multiply()], initializers=[yes()])


def in_nested_subgraph() -> onnx.ModelProto:
    inner = branches(constant(outside(), "v"), "v")
    return graph([branches(inner, "w"), multiply()], initializers=[yes()])


def in_subgraph_initializer() -> onnx.ModelProto:
    model = in_subgraph()
    branch = model.graph.node[0].attribute[0].g
    del branch.node[:]
    branch.initializer.append(outside("v"))
    return model


def in_sparse_initializer() -> onnx.ModelProto:
    model = identity()
    indices = numpy_helper.from_array(np.zeros(1, np.int64))
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(outside(), indices, [4]))
    return model


def in_list_of_tensors() -> onnx.ModelProto:
    model = identity()
    model.graph.node[0].attribute.append(helper.make_attribute("values", [outside()]))
    return model


def in_function() -> onnx.ModelProto:
    model = identity()
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("ai.onnx", "Own", [], ["w"], [constant(outside())], opsets))
    return model


def in_training_graph() -> onnx.ModelProto:
    model = identity()
    model.training_info.add().algorithm.CopyFrom(in_attribute().graph)
    return model


def in_location_alone() -> onnx.ModelProto:
    """Where the file lies is said, that the data is there is not."""
    model = in_initializer()
    model.graph.initializer[0].ClearField("data_location")
    return model


@pytest.mark.parametrize(
    "build",
    [
        in_initializer,
        in_attribute,
        in_subgraph,
        in_nested_subgraph,
        in_subgraph_initializer,
        in_sparse_initializer,
        in_list_of_tensors,
        in_function,
        in_training_graph,
        in_location_alone,
    ],
)
def test_external_data_is_refused_wherever_it_is(tmp_path: Path, build: Callable[[], onnx.ModelProto]) -> None:
    (tmp_path / "other.bin").write_bytes(np.float32(1).tobytes())  # there, sound, and not followed
    with pytest.raises(ModelRefused, match="outside the file"):
        load(save(tmp_path, build()))


@pytest.mark.parametrize("location", ["/etc/hostname", "../../secret", "a/../../b", "", "link"])
def test_external_data_is_refused_whatever_it_names(tmp_path: Path, location: str) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(ModelRefused, match="outside the file"):
        load(save(tmp_path, graph([multiply()], initializers=[outside("w", location)])))


def test_the_same_graphs_with_their_data_inside_are_taken(tmp_path: Path) -> None:
    inside = numpy_helper.from_array(np.ones(1, np.float32), "w")
    nested = graph([branches(branches(constant(inside, "v"), "v"), "w"), multiply()], initializers=[yes()])
    folder = write(tmp_path, proto=nested)
    model = manifest.load(folder)
    session = Session(model, weights.load(folder / "model.onnx", model.sha256))
    image = np.full((8, 8, 3), 255, np.uint8)
    assert session.predict([image]).min() == 1.0


@pytest.mark.parametrize("domain", ["com.microsoft", "com.example", "ai.onnx.contrib", "ai.onnx.preview.training", " "])
def test_operators_of_other_domains_are_refused(tmp_path: Path, domain: str) -> None:
    node = helper.make_node("Identity", ["x"], ["y"], domain=domain)
    with pytest.raises(ModelRefused, match="not of the ONNX standard"):
        load(save(tmp_path, graph([node], domains={domain: 1})))


def test_operators_of_other_domains_are_refused_in_subgraphs_and_functions(tmp_path: Path) -> None:
    foreign = helper.make_node("Own", [], ["v"], domain="com.example")
    with pytest.raises(ModelRefused, match=r"com\.example\.Own"):
        load(save(tmp_path, graph([branches(foreign, "v"), multiply()], initializers=[yes()])))
    model = identity()
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    model.functions.append(helper.make_function("ai.onnx", "Mine", [], ["v"], [foreign], opsets))
    with pytest.raises(ModelRefused, match=r"com\.example\.Own"):
        load(save(tmp_path, model))
    del model.functions[:]
    body = [helper.make_node("Identity", ["a"], ["b"])]
    model.functions.append(helper.make_function("com.example", "Mine", ["a"], ["b"], body, opsets))
    with pytest.raises(ModelRefused, match=r"function com\.example\.Mine"):
        load(save(tmp_path, model))


def test_an_imported_domain_that_no_operator_uses_is_harmless(tmp_path: Path) -> None:
    """Quantisers and converters leave such imports behind."""
    assert load(save(tmp_path, graph([helper.make_node("Identity", ["x"], ["y"])], domains={"com.microsoft": 1})))


def test_one_changed_bit_anywhere_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, times(0.5))
    sound = path.read_bytes()
    digest = hashlib.sha256(sound).hexdigest()
    assert weights.load(path, digest).data == sound
    for place in range(len(sound)):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        with pytest.raises(ModelRefused, match="sha256 is"):
            weights.load(path, digest)
    for changed in (b"", sound[:-1], sound + b"\0"):
        path.write_bytes(changed)
        with pytest.raises(ModelRefused, match="sha256 is"):
            weights.load(path, digest)


def test_what_is_swapped_after_the_check_is_not_seen(tmp_path: Path) -> None:
    folder = write(tmp_path, proto=times(0.5))
    (folder / "model.onnx").rename(folder / "sound")
    (folder / "other").write_bytes(times(0.25).SerializeToString())
    (folder / "model.onnx").symlink_to("sound")
    model = manifest.load(folder)
    checked = weights.load(folder / "model.onnx", model.sha256)
    (folder / "new").symlink_to("other")
    (folder / "new").rename(folder / "model.onnx")
    answer = Session(model, checked).predict([np.full((8, 8, 3), 255, np.uint8)])
    np.testing.assert_array_equal(answer, 0.5)
    with pytest.raises(ModelRefused, match="sha256 is"):
        weights.load(folder / "model.onnx", model.sha256)


def test_the_file_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path)
    model = manifest.load(folder)
    opened: list[object] = []
    real = os.open

    def counting(path: object, *arguments: int) -> int:
        opened.append(path)
        return real(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", counting)
    checked = weights.load(folder / "model.onnx", model.sha256)
    (folder / "model.onnx").unlink()
    Session(model, checked)
    assert opened == [folder / "model.onnx"]


def test_size_cap(tmp_path: Path) -> None:
    path = save(tmp_path, identity())
    size = path.stat().st_size
    assert load(path, size)
    with pytest.raises(ModelRefused, match=f"larger than {size - 1} bytes"):
        load(path, size - 1)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("absent", "folder", "pipe", "dangling"):
        with pytest.raises(ModelRefused):
            weights.load(tmp_path / name, "0" * 64)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08", b"\xff" * 64])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = write(tmp_path, proto=content)
    model = manifest.load(folder)
    with pytest.raises((ModelRefused, ManifestError)):
        Session(model, weights.load(folder / "model.onnx", model.sha256))


def test_a_model_in_the_runtimes_own_format_is_not_taken_for_one(tmp_path: Path) -> None:
    """An unknown protobuf field puts ONNX Runtime's magic number at its place: the file is still read as ONNX."""
    field = b"\xfa\x7f\x08" + b"\0ORTM" + b"\0\0\0"
    assert field[4:8] == b"ORTM"
    folder = write(tmp_path, proto=field + times(0.5).SerializeToString())
    model = manifest.load(folder)
    session = Session(model, weights.load(folder / "model.onnx", model.sha256))
    np.testing.assert_array_equal(session.predict([np.full((8, 8, 3), 255, np.uint8)]), 0.5)


def two_inputs() -> onnx.ModelProto:
    model = graph([helper.make_node("Mul", ["x", "other"], ["y"])])
    model.graph.input.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, [1]))
    return model


def two_outputs() -> onnx.ModelProto:
    model = graph([helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Identity", ["x"], ["z"])])
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 3, "H", "W"]))
    return model


def listed_initializer() -> onnx.ModelProto:
    """As before IR version 4: what has a value is listed among the inputs too."""
    model = times(0.5)
    model.ir_version = 3
    model.graph.input.append(helper.make_tensor_value_info("factor", TensorProto.FLOAT, [1]))
    return model


def typed(element: int) -> onnx.ModelProto:
    return graph([helper.make_node("Identity", ["x"], ["y"])], element=element)


def shaped(given: list[Dim]) -> onnx.ModelProto:
    return identity(given)


@pytest.mark.parametrize(
    ("proto", "changes", "key"),
    [
        (identity(), {"input__name": "image"}, "input.name"),
        (identity(), {"head__output": "maps"}, "head.output"),
        (two_inputs(), {}, "input.name"),
        (two_outputs(), {}, "head.output"),
        (typed(TensorProto.DOUBLE), {}, "input.name"),
        (typed(TensorProto.UINT8), {}, "input.name"),
        (shaped(["N", 8, 8, 3]), {}, "input.channels"),
        (shaped(["N", 3, 8, 16]), {}, "input.size"),
        (shaped(["N", 3, 8]), {}, "input.layout"),
        (shaped(["N", 3, 8, 8]), {"input__fit": "pad"}, "input.fit"),
        (identity(), {"head__classes": classes("a", "b")}, "head.classes"),
        (means(), {}, "head.layout"),
        (means(), {"head__kind": "classification", "head__classes": classes("a", "b")}, "head.classes"),
    ],
)
def test_a_manifest_of_another_model_is_refused(
    tmp_path: Path, proto: onnx.ModelProto, changes: dict[str, Any], key: str
) -> None:
    folder = write(tmp_path, keys(**changes), proto)
    model = manifest.load(folder)
    checked = weights.load(folder / "model.onnx", model.sha256)
    with pytest.raises(ManifestError, match=key.replace(".", r"\.") + ": "):
        Session(model, checked)


def test_an_initializer_listed_as_input_is_no_second_input(tmp_path: Path) -> None:
    folder = write(tmp_path, proto=listed_initializer())
    model = manifest.load(folder)
    session = Session(model, weights.load(folder / "model.onnx", model.sha256))
    np.testing.assert_array_equal(session.predict([np.full((8, 8, 3), 255, np.uint8)]), 0.5)
