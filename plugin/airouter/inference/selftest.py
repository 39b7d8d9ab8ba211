"""Does this model, on this machine and provider, still answer as it did where it was made?"""

import zipfile
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airouter.errors import ModelOutputError, ModelRefused
from airouter.inference.preprocess import image_size
from airouter.inference.session import Session

FILE: Final = "selftest.npz"

# Providers sum in different orders and fuse different operators, on a GPU also in TF32: float32 answers differ in
# their fourth digit. A wrong model, range or operator differs in the first.
ABSOLUTE: Final = 1e-3
RELATIVE: Final = 1e-3

_MOST_BYTES: Final = 512 * 1024**2


def check(session: Session, folder: Path) -> str | None:
    """Run a model once on noise, and on the recorded input of selftest.npz, where the raw output must be as recorded.

    The first run shows that layout, size, classes and activation of the manifest fit what comes out.
    Returns None, or what could not be tested. Raises ModelRefused where a test fails, and where a model of intended
    use `clinical` has no selftest.npz.
    """
    model = session.model
    noise = np.random.default_rng(0).integers(0, 256, (*image_size(model.input), model.input.channels), np.uint8)
    try:
        session.predict([noise])
    except ModelOutputError as error:
        raise ModelRefused(f"{model.name}: self-test failed: {error}") from error
    path = folder / FILE
    if not path.exists():
        if model.intended_use == "clinical":
            raise ModelRefused(f"{model.name}: {FILE} is missing, a model of intended use clinical needs it")
        return f"no {FILE}: only shape and range of the output were tested"
    given, recorded = _read(path)
    try:
        output = session.run(given)
    except ModelOutputError as error:
        raise ModelRefused(f"{model.name}: self-test failed: {error}") from error
    if output.shape != recorded.shape:
        raise ModelRefused(f"{model.name}: self-test gives shape {output.shape}, recorded is {recorded.shape}")
    if not np.allclose(output, recorded, rtol=RELATIVE, atol=ABSOLUTE):
        worst = float(np.abs(output.astype(np.float64) - recorded).max())
        raise ModelRefused(f"{model.name}: self-test differs from its record by up to {worst:g} on {session.provider}")
    return None


def _read(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Arrays `input` and `output`, plain floats; nothing pickled is ever unpickled."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
                raise ModelRefused(f"{path}: unpacks to more than {_MOST_BYTES} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            pair = arrays["input"], arrays["output"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise ModelRefused(f"{path}: not a self-test: {error}") from error
    for array in pair:
        if array.dtype.kind != "f" or not array.size or not np.isfinite(array).all():
            raise ModelRefused(f"{path}: not a self-test: arrays must hold finite floats")
    return pair[0].astype(np.float32), pair[1].astype(np.float32)
