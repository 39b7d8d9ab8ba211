"""Which execution provider runs the models: the configuration's order, and never one it does not name."""

from collections.abc import Sequence
from typing import Final

import onnxruntime

from airouter.errors import ConfigurationError

# The setting, for messages.
SETTING: Final = "AIRouter.ExecutionProviders"

# What the configuration calls them, and ONNX Runtime.
NAMES: Final = {
    "CUDA": "CUDAExecutionProvider",
    "TensorRT": "TensorrtExecutionProvider",
    "OpenVINO": "OpenVINOExecutionProvider",
    "CPU": "CPUExecutionProvider",
}


def runtime() -> dict[str, str]:
    """Name and version of what runs the models."""
    return {"onnxruntime": str(onnxruntime.__version__)}


def choose(configured: Sequence[str]) -> tuple[str, ...]:
    """ONNX Runtime's names of those configured providers that this installation has, in the configured order.

    Raises ConfigurationError for an unknown name, and where none is available: the CPU is used only if it is named.
    """
    for i, name in enumerate(configured):
        if name not in NAMES:
            raise ConfigurationError(f"{SETTING}[{i}]", f"{name!r} is unknown; known are {', '.join(NAMES)}")
    here = onnxruntime.get_available_providers()
    chosen = tuple(NAMES[name] for name in dict.fromkeys(configured) if NAMES[name] in here)
    if not chosen:
        available = [name for name, full in NAMES.items() if full in here]
        raise ConfigurationError(
            SETTING, f"none of {list(configured)} is available here, only {', '.join(available)}; add one to run on it"
        )
    return chosen
