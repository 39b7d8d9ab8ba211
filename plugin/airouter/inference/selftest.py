"""Does this model, on this machine and provider, still answer as it did where it was made?"""

import io
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
    _run_on_noise(session)
    path = folder / FILE
    if not path.exists():
        if model.intended_use == "clinical":
            raise ModelRefused(f"{model.name}: {FILE} is missing, a model of intended use clinical needs it")
        return f"no {FILE}: only shape and range of the output were tested"
    given, recorded = _arrays(path, str(path), "input", "output")
    output = _output(session, given, recorded)
    if not np.allclose(output, recorded, rtol=RELATIVE, atol=ABSOLUTE):
        worst = float(np.abs(output.astype(np.float64) - recorded).max())
        raise ModelRefused(f"{model.name}: self-test differs from its record by up to {worst:g} on {session.provider}")
    return None


def record(original: Session, variant: Session, folder: Path) -> bytes:
    """A self-test for 8-bit weights: an input, their output for it and that of the float32 weights they replace.

    The input is that of selftest.npz, or noise where there is none: never a patient's image. Raises ModelRefused as
    `check` does.
    """
    _run_on_noise(variant)
    path = folder / FILE
    given = _arrays(path, str(path), "input")[0] if path.exists() else original.tensor(_noise(original)).copy()
    stream = io.BytesIO()
    np.savez_compressed(stream, input=given, output=variant.run(given), reference=original.run(given))
    return stream.getvalue()


def check_variant(variant: Session, recorded: bytes) -> None:
    """Run 8-bit weights on noise and on what `record` made of them.

    Their output must not be farther from the recorded one, as root mean square, than that was from the float32
    weights': what the processor adds must not exceed what the rounding of the weights did, which was measured and
    accepted. A kernel that saturates exceeds it many times. Raises ModelRefused.
    """
    model = variant.model
    _run_on_noise(variant)
    given, expected, reference = _arrays(
        io.BytesIO(recorded), f"{model.name}: recorded self-test", "input", "output", "reference"
    )
    apart = _rms(_output(variant, given, expected) - expected)
    accepted = max(_rms(expected - reference), ABSOLUTE + RELATIVE * _rms(expected))
    if apart > accepted:
        raise ModelRefused(
            f"{model.name}: self-test of the 8-bit weights differs from its record by {apart:.3g} (root mean square) "
            f"on {variant.provider}, accepted are {accepted:.3g}"
        )


def _noise(session: Session) -> NDArray[np.uint8]:
    image = session.model.input
    return np.random.default_rng(0).integers(0, 256, (*image_size(image), image.channels), np.uint8)


def _run_on_noise(session: Session) -> None:
    try:
        session.predict([_noise(session)])
    except ModelOutputError as error:
        raise ModelRefused(f"{session.model.name}: self-test failed: {error}") from error


def _output(session: Session, given: NDArray[np.float32], recorded: NDArray[np.float32]) -> NDArray[np.float32]:
    """What comes out, of the recorded shape."""
    name = session.model.name
    try:
        output = session.run(given)
    except ModelOutputError as error:
        raise ModelRefused(f"{name}: self-test failed: {error}") from error
    if output.shape != recorded.shape:
        raise ModelRefused(f"{name}: self-test gives shape {output.shape}, recorded is {recorded.shape}")
    return np.asarray(output)


def _rms(values: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _arrays(source: Path | io.BytesIO, named: str, *names: str) -> list[NDArray[np.float32]]:
    """Arrays of these names, plain floats; nothing pickled is ever unpickled."""
    try:
        with zipfile.ZipFile(source) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
                raise ModelRefused(f"{named}: unpacks to more than {_MOST_BYTES} bytes")
        if isinstance(source, io.BytesIO):
            source.seek(0)
        with np.load(source, allow_pickle=False) as arrays:
            found = [arrays[name] for name in names]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise ModelRefused(f"{named}: not a self-test: {error}") from error
    for array in found:
        if array.dtype.kind != "f" or not array.size or not np.isfinite(array).all():
            raise ModelRefused(f"{named}: not a self-test: arrays must hold finite floats")
    return [array.astype(np.float32) for array in found]
