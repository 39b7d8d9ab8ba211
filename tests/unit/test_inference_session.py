"""What goes in is what the manifest says; what comes out is what `Predictor` promises, or a ModelOutputError."""

import math
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from airouter.errors import ConfigurationError, ModelOutputError, ModelRefused
from airouter.inference import manifest, providers, weights
from airouter.inference.preprocess import as_channels, image_size
from airouter.inference.session import Session
from tests.model_folders import Dim, classes, graph, identity, means, times, write
from tests.model_folders import manifest as keys

Pixels = npt.NDArray[np.uint8]


def opened(folder: Path, configured: tuple[str, ...] = ("CPU",)) -> Session:
    model = manifest.load(folder)
    return Session(model, weights.load(folder / "model.onnx", model.sha256), configured)


def session(proto: onnx.ModelProto, **changes: Any) -> Session:
    with tempfile.TemporaryDirectory() as models:
        return opened(write(Path(models), keys(**changes), proto))


def noise(seed: int, *shape: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def rearranged(layout: str, head_layout: str, channels: int, batch: int | None) -> onnx.ModelProto:
    """Gives back its input, in another layout where the head's differs. Rows and columns are free."""
    count: Dim = batch if batch is not None else "N"
    shapes: dict[str, list[Dim]] = {"NCHW": [count, channels, "H", "W"], "NHWC": [count, "H", "W", channels]}
    order = [0, 1, 2, 3]
    if layout != head_layout:
        order = [0, 2, 3, 1] if layout == "NCHW" else [0, 3, 1, 2]
    node = helper.make_node("Transpose", ["x"], ["y"], perm=order)
    return graph([node], given=shapes[layout], gives=shapes[head_layout])


@settings(max_examples=80, deadline=None)
@given(
    layout=st.sampled_from(["NCHW", "NHWC"]),
    head_layout=st.sampled_from(["NCHW", "NHWC"]),
    colour=st.sampled_from(["RGB", "BGR", "GRAY"]),
    transpose=st.booleans(),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    fixed=st.none() | st.integers(1, 4),
    batch=st.integers(1, 4),
    count=st.integers(1, 7),
    seed=st.integers(0, 1000),
)
def test_an_identity_model_gives_back_the_images(
    layout: str,
    head_layout: str,
    colour: str,
    transpose: bool,
    size: tuple[int, int],
    fixed: int | None,
    batch: int,
    count: int,
    seed: int,
) -> None:
    """Whatever layout, colour order, transposition and batching: maps stand on the grid of the images, in order."""
    channels = 1 if colour == "GRAY" else 3
    names = [f"channel {c}" for c in range(channels)]
    predictor = session(
        rearranged(layout, head_layout, channels, fixed),
        input__layout=layout,
        input__channels=channels,
        input__colour=colour,
        input__size=list(size),
        input__transpose=transpose,
        input__batch=batch,
        head__layout=head_layout,
        head__classes=classes(*names),
    )
    rows, columns = image_size(predictor.model.input)
    assert (rows, columns) == (size[::-1] if transpose else size)
    images = noise(seed, count, rows, columns, channels)
    answer = predictor.predict(list(images))
    expected = np.moveaxis(images, 3, 1) / 255
    if colour == "BGR":
        expected = expected[:, ::-1]  # the classes are in the order of the tensor's channels
    assert answer.dtype == np.float32
    assert answer.shape == expected.shape
    np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-6)


numbers = st.floats(-300, 300, width=32)


@settings(max_examples=40, deadline=None)
@given(
    bounds=st.tuples(numbers, numbers).filter(lambda b: b[0] != b[1]),
    mean=st.none() | st.lists(numbers, min_size=3, max_size=3),
    std=st.none() | st.lists(st.floats(0.125, 300, width=32), min_size=3, max_size=3),
    colour=st.sampled_from(["RGB", "BGR"]),
    seed=st.integers(0, 1000),
)
def test_range_mean_and_std_reach_the_tensor(
    bounds: tuple[float, float], mean: list[float] | None, std: list[float] | None, colour: str, seed: int
) -> None:
    predictor = session(
        graph([helper.make_node("Flatten", ["x"], ["y"], axis=1)], gives=["N", "V"]),
        input__range=list(bounds),
        input__mean=mean,
        input__std=std,
        input__colour=colour,
        input__size=[4, 5],
        head__kind="embedding",
        head__classes=[],
    )
    image = noise(seed, 4, 5, 3)
    tensor = np.moveaxis(image if colour == "RGB" else image[..., ::-1], 2, 0).astype(np.float64)
    expected = bounds[0] + tensor * (bounds[1] - bounds[0]) / 255
    if mean is not None:
        expected -= np.array(mean)[:, None, None]
    if std is not None:
        expected /= np.array(std)[:, None, None]
    np.testing.assert_allclose(predictor.predict([image])[0], expected.ravel(), rtol=1e-5, atol=1e-3)


def test_the_ends_of_the_range_are_exact() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image[:4] = 255
    answer = session(identity()).predict([image])
    assert np.unique(answer).tolist() == [0.0, 1.0]


def test_grey_and_colour_are_converted() -> None:
    grey = noise(1, 4, 4)
    np.testing.assert_array_equal(as_channels(grey, 3), np.stack([grey] * 3, axis=2))
    np.testing.assert_array_equal(as_channels(grey, 1)[..., 0], grey)
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90]]], np.uint8)
    np.testing.assert_array_equal(as_channels(colours, 1)[0, :, 0], [76, 150, 29, 90])  # 0.299, 0.587, 0.114 x 255
    for wrong in (noise(1, 4, 4, 4), noise(1, 4), noise(1, 4, 4, 2), noise(1, 0, 4), np.zeros((4, 4), np.float32)):
        with pytest.raises(ValueError, match=r"channels|image"):
            as_channels(wrong, 3)  # type: ignore[arg-type]


def test_images_of_another_size_are_the_callers_mistake() -> None:
    predictor = session(identity())
    for images in ([], [noise(0, 8, 9, 3)], [noise(0, 8, 8, 3), noise(0, 9, 8, 3)]):
        with pytest.raises(ValueError, match="image"):
            predictor.predict(images)


@pytest.mark.parametrize("given_shape", [["N", 3, "H", "W"], [4, 3, 8, 8]])
def test_batches_never_exceed_what_was_said(given_shape: list[Dim]) -> None:
    """The model gives the size of the batch it saw in every pixel."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], start=0, end=1),
        helper.make_node("Cast", ["shape"], ["count"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "count"], ["sum"]),
        helper.make_node("Mul", ["sum", "tenth"], ["y"]),
    ]
    constants = [
        numpy_helper.from_array(np.float32(0), "zero"),
        numpy_helper.from_array(np.float32(0.1), "tenth"),
    ]
    predictor = session(graph(nodes, given=given_shape, initializers=constants), input__batch=3)
    seen = predictor.predict(list(noise(0, 7, 8, 8, 3)))[:, 0, 0, 0] * 10
    assert np.round(seen).tolist() == ([3, 3, 3, 3, 3, 3, 1] if given_shape[0] == "N" else [4] * 7)


def test_float16_models_are_fed_float16() -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    predictor = session(graph([node], element=TensorProto.FLOAT16))
    image = noise(0, 8, 8, 3)
    answer = predictor.predict([image])
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer[0], np.moveaxis(image, 2, 0) / 255, atol=1e-3)


def logits(values: list[float], **changes: Any) -> npt.NDArray[np.float32]:
    """What a head makes of fixed logits [1, 3, 8, 8] or, for other kinds than segmentation, [1, 3]."""
    maps = changes.get("head__kind", "segmentation") == "segmentation"
    tensor = np.array(values, np.float32).reshape((1, 3, 1, 1) if maps else (1, 3))
    pooled = helper.make_node("GlobalAveragePool", ["x"], ["m"])
    flat = helper.make_node("Flatten", ["m"], ["f"], axis=1)
    nodes = [] if maps else [pooled, flat]
    source = "x" if maps else "f"
    nodes += [helper.make_node("Mul", [source, "zero"], ["n"]), helper.make_node("Add", ["n", "values"], ["y"])]
    constants = [numpy_helper.from_array(np.float32(0), "zero"), numpy_helper.from_array(tensor, "values")]
    proto = graph(nodes, gives=["N", 3, "H", "W"] if maps else ["N", 3], initializers=constants)
    return session(proto, **changes).predict([noise(0, 8, 8, 3)])


@pytest.mark.parametrize("kind", ["segmentation", "classification"])
def test_activations_make_probabilities(kind: str) -> None:
    values = [-1000.0, 0.0, math.log(3)]
    soft = logits(values, head__kind=kind, head__activation="softmax", head__exclusive=True)
    np.testing.assert_allclose(soft[0, :, ...].reshape(3, -1)[:, 0], [0, 0.25, 0.75], atol=1e-6)
    np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-6)
    apart = logits([-1000.0, 1000.0, math.log(3)], head__kind=kind, head__activation="sigmoid")
    np.testing.assert_allclose(apart[0].reshape(3, -1)[:, 0], [0, 1, 0.75], atol=1e-6)


@pytest.mark.parametrize("activation", ["none", "softmax", "sigmoid"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", ["segmentation", "classification", "regression", "embedding"])
def test_nan_and_infinity_are_refused_before_any_activation(kind: str, value: float, activation: str) -> None:
    changes: dict[str, Any] = {"head__kind": kind}
    if kind in ("regression", "embedding"):
        changes |= {"head__classes": []} | ({"head__unit": "um"} if kind == "regression" else {})
    else:
        changes |= {"head__activation": activation, "head__exclusive": activation == "softmax"}
    with pytest.raises(ModelOutputError, match="NaN or infinity"):
        logits([0.5, value, 0.5], **changes)


@pytest.mark.parametrize("kind", ["segmentation", "classification"])
@pytest.mark.parametrize("value", [-0.01, 1.01, 255.0])
def test_what_is_no_probability_is_refused(kind: str, value: float) -> None:
    with pytest.raises(ModelOutputError, match="not probabilities"):
        logits([0.5, value, 0.5], head__kind=kind)


def test_rounding_is_no_failure() -> None:
    answer = logits([-5e-5, 1.00005, 0.5])
    assert (answer.min(), answer.max()) == (0.0, 1.0)


def test_numbers_of_a_regression_are_left_as_they_are() -> None:
    changes = {"head__kind": "regression", "head__unit": "um", "head__classes": []}
    np.testing.assert_array_equal(logits([-3.5, 300.0, 0.5], **changes), np.array([[-3.5, 300.0, 0.5]], np.float32))


def node(op: str, *inputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), ["y"], **attributes)


SHAPES: list[tuple[Callable[[], onnx.ModelProto], dict[str, Any]]] = [
    # half the resolution
    (lambda: graph([node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2])], gives=["N", 3, "A", "B"]), {}),
    # one item too few
    (lambda: graph([node("ReduceMean", "x", axes=[0], keepdims=1)], gives=["M", 3, "H", "W"]), {"input__batch": 2}),
    # one dimension too few, and the graph does not say so
    (lambda: graph([node("ReduceMean", "x", axes=[3], keepdims=0)], silent=True), {}),
    # channels last where the manifest says first
    (lambda: graph([node("Transpose", "x", perm=[0, 2, 3, 1])], gives=["N", "A", "B", "C"]), {}),
    # a map where a vector is promised
    (identity, {"head__kind": "embedding", "head__classes": []}),
    # more values than classes
    (
        lambda: graph([node("Flatten", "x", axis=1)], gives=["N", "V"]),
        {"head__kind": "classification", "head__classes": classes("a")},
    ),
    # one value for all images
    (
        lambda: graph([node("ReduceMean", "x", keepdims=0)], silent=True),
        {"head__kind": "regression", "head__unit": "1", "head__classes": []},
    ),
]


@pytest.mark.parametrize(("build", "changes"), SHAPES)
def test_another_shape_than_promised_is_refused(build: Callable[[], onnx.ModelProto], changes: dict[str, Any]) -> None:
    predictor = session(build(), **changes)
    with pytest.raises(ModelOutputError, match=r"shape|values for"):
        predictor.predict(list(noise(0, 2, 8, 8, 3)))


def test_a_run_that_fails_is_a_model_output_error() -> None:
    """The graph reshapes to a size that only another image has."""
    shape = numpy_helper.from_array(np.array([1, 3, 5, 5], np.int64), "shape")
    predictor = session(graph([node("Reshape", "x", "shape")], initializers=[shape]))
    with pytest.raises(ModelOutputError, match="the run failed"):
        predictor.predict([noise(0, 8, 8, 3)])


def test_a_graph_that_onnx_runtime_does_not_take_is_refused() -> None:
    with pytest.raises(ModelRefused, match="ONNX Runtime does not load it"):
        session(graph([helper.make_node("NoSuchOperator", ["x"], ["y"])]))


def test_a_pooled_map_is_a_vector() -> None:
    pooled = graph([node("GlobalAveragePool", "x")], gives=["N", 3, 1, 1])
    images = list(noise(0, 2, 8, 8, 3))
    changes = {"head__kind": "embedding", "head__classes": []}
    np.testing.assert_array_equal(
        session(pooled, **changes).predict(images), session(means(), **changes).predict(images)
    )


def test_threads_share_a_session() -> None:
    predictor = session(times(0.5), input__batch=2)
    images = [noise(seed, 5, 8, 8, 3) for seed in range(16)]
    start = threading.Barrier(4)

    def work(worker: int) -> list[npt.NDArray[np.float32]]:
        start.wait(timeout=10)
        return [predictor.predict(list(stack)) for stack in images[worker::4]]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(work, range(4)))
    for worker, found in enumerate(answers):
        for answer, stack in zip(found, images[worker::4], strict=True):
            np.testing.assert_allclose(answer, np.moveaxis(stack, 3, 1) / 510, atol=1e-6)


def test_answers_outlive_the_next_call() -> None:
    """Buffers are kept between calls; what was handed out must not change with them."""
    predictor = session(identity())
    first = predictor.predict([noise(1, 8, 8, 3)])
    kept = first.copy()
    predictor.predict([noise(2, 8, 8, 3)])
    np.testing.assert_array_equal(first, kept)


def test_the_provider_is_recorded() -> None:
    assert session(identity()).provider == "CPUExecutionProvider"


def test_providers_are_taken_in_the_configured_order(monkeypatch: pytest.MonkeyPatch) -> None:
    here = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "AzureExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: here)
    assert providers.choose(["OpenVINO", "CUDA", "TensorRT"]) == (here[1], here[0])
    assert providers.choose(["CPU", "CUDA", "CPU"]) == (here[3], here[1])
    with pytest.raises(ConfigurationError, match=r"AIRouter\.ExecutionProviders: none of \['OpenVINO'\] is available"):
        providers.choose(["OpenVINO"])
    with pytest.raises(ConfigurationError, match=r"AIRouter\.ExecutionProviders\[1\]: 'Azure' is unknown"):
        providers.choose(["CPU", "Azure"])
    with pytest.raises(ConfigurationError):
        providers.choose([])


def test_the_cpu_is_not_used_unless_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A provider that is installed and does not start: ONNX Runtime would go on with the CPU and only warn."""
    real = onnxruntime.get_available_providers
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*real(), "CUDAExecutionProvider"])
    created = onnxruntime.InferenceSession

    def without_cuda(data: bytes, options: Any, providers: list[str], enable_fallback: int) -> Any:
        assert enable_fallback == 0
        rest = [p for p in providers if p != "CUDAExecutionProvider"] or ["CPUExecutionProvider"]
        return created(data, options, providers=rest, enable_fallback=enable_fallback)

    monkeypatch.setattr(onnxruntime, "InferenceSession", without_cuda)
    folder = write(tmp_path)
    with pytest.raises(ConfigurationError, match="CUDAExecutionProvider did not start"):
        opened(folder, ("CUDA",))
    assert opened(folder, ("CUDA", "CPU")).provider == "CPUExecutionProvider"


@pytest.mark.parametrize("channels", [1, 3])
def test_any_memory_layout_of_an_image_is_read(channels: int) -> None:
    """Views turned, cut, strided and read-only, as readers hand them out."""
    source = noise(3, 20, 20, channels)
    source.flags.writeable = False
    views = [source[:8, :8], source[::-1][:8, 4:12], source[1:9, ::-2][:, :8], source[:8, :8].swapaxes(0, 1)]
    predictor = session(
        identity(("N", channels, "H", "W")),
        input__channels=channels,
        input__colour="RGB" if channels == 3 else "GRAY",
        head__classes=classes(*"abc"[:channels]),
    )
    for view in views:
        np.testing.assert_allclose(predictor.predict([view])[0], np.moveaxis(view, 2, 0) / 255, atol=1e-6)
