"""One loaded model: the only module that runs ONNX Runtime."""

import threading
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state

from airouter.domain.model import Fit, Model
from airouter.errors import ConfigurationError, ModelOutputError, ModelRefused
from airouter.inference import agreement, postprocess, preprocess, providers
from airouter.inference.weights import Weights

# ONNX Runtime's errors have no common base of their own.
FAILURES: Final[tuple[type[Exception], ...]] = (
    RuntimeError,
    *(
        entry
        for entry in vars(onnxruntime_pybind11_state).values()
        if isinstance(entry, type) and issubclass(entry, Exception)
    ),
)


class Session:
    """A `airouter.ports.Predictor` over one onnxruntime.InferenceSession, shared by threads.

    `configured` are provider names as in the configuration, most wanted first; `threads` is the number of threads
    inside one operator: 1 where several workers call `predict` at once, which is the quicker way on a CPU, 0 for one
    per core.

    Raises ManifestError where manifest and graph disagree, ModelRefused where ONNX Runtime does not take the model,
    ConfigurationError where no configured provider is available or none of them could be started.
    """

    def __init__(self, model: Model, weights: Weights, configured: Sequence[str] = ("CPU",), threads: int = 1) -> None:
        chosen = providers.choose(configured)
        agreement.require(model, weights)
        tensor = agreement.input_of(model, weights)
        self._model = model
        self._element = agreement.element(tensor)
        self._fixed_batch = tensor.shape[0] if tensor.shape else None
        self._buffers = threading.local()
        try:
            # enable_fallback: ONNX Runtime would otherwise go on with another provider after a failure, silently.
            self._session = onnxruntime.InferenceSession(
                weights.data, _options(threads), providers=list(chosen), enable_fallback=0
            )
        except FAILURES as error:
            raise ModelRefused(f"{model.name}: ONNX Runtime does not load it: {error}") from error
        self._provider: str = self._session.get_providers()[0]
        if self._provider not in chosen:
            raise ConfigurationError(
                providers.SETTING, f"{', '.join(chosen)} did not start, {self._provider} is not configured"
            )

    @property
    def model(self) -> Model:
        """What the manifest says of it."""
        return self._model

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of the provider that runs it."""
        return self._provider

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """As `airouter.ports.Predictor.predict`; any number of images, run in batches of the manifest's size.

        With fit: pad, images are multiples of the model's size, all of one shape. Grey and colour are converted into
        each other as `preprocess.as_channels` says. Raises ValueError for images of another size or type.
        """
        if not images:
            raise ValueError("no images")
        pictures = self._pictures(images)
        rows, columns = pictures[0].shape[:2]
        step = self._fixed_batch or self._model.input.batch
        parts = []
        for start in range(0, len(pictures), step):
            batch = pictures[start : start + step]
            tensor = self._filled(batch)
            out = postprocess.finish(self.run(tensor), self._model, len(tensor), rows, columns)
            parts.append(out[: len(batch)])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def tensor(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The input tensor that `predict` would feed for one image; valid until this thread asks for the next.

        Raises ValueError as `predict` does.
        """
        return self._filled(self._pictures([image]))

    def run(self, tensor: NDArray[np.float32]) -> Any:
        """The raw output for an input tensor as the graph wants it. Raises ModelOutputError where the run fails."""
        feed = {self._model.input.name: tensor.astype(self._element, copy=False)}
        try:
            (output,) = self._session.run([self._model.head.output], feed)
        except FAILURES as error:
            raise ModelOutputError(f"{self._model.name}: the run failed: {error}") from error
        return output

    def _filled(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """A graph of fixed batch size is fed in full: the last image stands for those that are missing."""
        rows, columns = pictures[0].shape[:2]
        fed = self._fixed_batch or len(pictures)
        tensor = self._buffer(preprocess.tensor_shape(self._model.input, fed, rows, columns))
        preprocess.fill(tensor, pictures, self._model.input)
        tensor[len(pictures) :] = tensor[len(pictures) - 1]
        return tensor

    def _pictures(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        """Images with the model's channels, all of one size that it reads. Raises ValueError for others."""
        pictures = [preprocess.as_channels(image, self._model.input.channels) for image in images]
        rows, columns = pictures[0].shape[:2]
        size = preprocess.image_size(self._model.input)
        if self._model.input.fit is Fit.PAD:
            fits = rows % size[0] == 0 and columns % size[1] == 0
        else:
            fits = (rows, columns) == size
        if not fits or any(picture.shape[:2] != (rows, columns) for picture in pictures):
            shapes = sorted({picture.shape[:2] for picture in pictures})
            raise ValueError(f"{self._model.name} reads images of {size[0]} x {size[1]}, given were {shapes}")
        return pictures

    def _buffer(self, shape: tuple[int, int, int, int]) -> NDArray[np.float32]:
        """This thread's input tensor, kept while its shape stays: fresh memory for each batch costs page faults."""
        kept: NDArray[np.float32] | None = getattr(self._buffers, "tensor", None)
        if kept is None or kept.shape != shape:
            kept = self._buffers.tensor = np.empty(shape, dtype=np.float32)
        return kept


def _options(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # errors only
    # Threads that wait must not burn the cores that Orthanc answers with.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # The bytes were inspected as ONNX; they must not be taken for ONNX Runtime's own format, known by a magic number.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    return options
