"""8-bit weights beside those of a manifest: int8.yaml says of which weights they were made and how far they agree.

A variant stands for its model only while everything it was measured with still holds: the weights it was made from,
the input and head of the manifest, and the tolerance. It is loaded or refused, never passed over in silence: jobs and
records name the weights that ran.
"""

import hashlib
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

import yaml
from pydantic import Field, ValidationError

from airouter.domain.model import Model
from airouter.domain.model import contract as contract_of
from airouter.errors import ManifestError, ModelRefused, NotQuantizable
from airouter.inference import manifest, weights
from airouter.inference.fidelity import METRICS, Metric
from airouter.inference.schema import ManifestKeys, Strict

FILE: Final = "int8.yaml"
WEIGHTS: Final = "model.int8.onnx"
SELFTEST: Final = "selftest.int8.npz"
SETTING: Final = "AIRouter.QuantizedModels"

_LONGEST_VERSION: Final = 64  # of a text in DICOM (LO)
_MOST_SELFTEST_BYTES: Final = 512 * 1024**2

# How the range of a tensor is found from its values on images: their extremes; percentiles of them; or the range whose
# 8-bit histogram is nearest to the full one (Kullback-Leibler divergence).
Method = Literal["minmax", "percentile", "entropy"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)

FEWEST: Final = 8  # images to calibrate, and others to check: ranges from fewer, or a share of fewer, say nothing

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ImagesKeys(Strict):
    """Which images: how many, and the SHA-256 over the pixels of all of them."""

    images: Annotated[int, Field(ge=1)]
    sha256: Sha256


class CalibrationKeys(ImagesKeys):
    """What the ranges of the tensors were taken from, and how."""

    method: Method


class CheckKeys(ImagesKeys):
    """What the agreement was measured on; `shows`: in how many of the images each class was found."""

    shows: dict[str, Annotated[int, Field(ge=0)]]


class VariantKeys(Strict):
    """int8.yaml."""

    version_of_schema: Annotated[Literal[1], Field(alias="schema")]
    sha256: Sha256
    selftest_sha256: Sha256
    made_from: Sha256
    contract: Sha256
    metric: Metric
    agreement: Annotated[float, Field(ge=-1.0, le=1.0)]
    calibration: CalibrationKeys
    check: CheckKeys
    onnxruntime: Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Variant:
    """What `airouter quantize` made, before it is written."""

    keys: VariantKeys
    data: bytes
    selftest: bytes


def contract(keys: ManifestKeys) -> str:
    """SHA-256 of everything in a manifest that decides numbers and decisions: another one needs another check.

    As `airouter.domain.model.contract`, but for the codes of the classes, which decide neither.
    """
    model = manifest.model_of(keys)
    classes = tuple(replace(each, code=None) for each in model.head.classes)
    return contract_of(replace(model, head=replace(model.head, classes=classes)))


def tolerance(keys: ManifestKeys) -> float:
    """Least agreement that the model's maker accepts. Raises ManifestError where the manifest states none."""
    if keys.quantization is None:
        raise ManifestError(
            f"{keys.name}: quantization.tolerance is missing: its maker must say how far 8-bit weights have to agree"
        )
    return keys.quantization.tolerance


def of(model: Model, sha256: str) -> Model:
    """The model as its variant is known. Raises NotQuantizable where its version has no room for the mark."""
    version = model.version + (".int8" if "+" in model.version else "+int8")  # build metadata of Semantic Versioning
    if len(version) > _LONGEST_VERSION:
        raise NotQuantizable(f"{model.name}: version {model.version!r} leaves no room for '+int8'")
    return replace(model, version=version, sha256=sha256)


def load(folder: Path, keys: ManifestKeys, most_bytes: int = weights.MOST_BYTES) -> tuple[weights.Weights, bytes]:
    """The checked 8-bit weights of a model folder, and their recorded self-test.

    Raises ModelRefused where there are none, where they were made of other weights or for another input or head than
    the manifest has now, or agree less than it asks; ManifestError where the manifest has no tolerance.
    """
    found = _read(folder)
    if found.made_from != keys.weights.sha256:
        old, new = found.made_from[:16], keys.weights.sha256[:16]
        raise _refused(folder, f"was made from weights {old}, the manifest has {new}")
    if found.contract != contract(keys) or found.metric != METRICS[keys.head.kind]:
        raise _refused(folder, "was checked with another input or head than the manifest has now")
    least = tolerance(keys)
    if found.agreement < least:
        raise _refused(folder, f"agreement {found.agreement:.4f} is below the manifest's tolerance {least:g}")
    try:
        selftest = weights.read(folder / SELFTEST, _MOST_SELFTEST_BYTES)
    except ModelRefused as error:
        raise _refused(folder, str(error)) from error
    if hashlib.sha256(selftest).hexdigest() != found.selftest_sha256:
        raise _refused(folder, f"{SELFTEST} is not the one that was recorded")
    return weights.load(folder / WEIGHTS, found.sha256, most_bytes, said_by=FILE), selftest


def write(folder: Path, variant: Variant) -> None:
    """Put the three files into the folder, int8.yaml last: whatever is cut off leaves one that is refused.

    Raises NotQuantizable where the folder cannot be written.
    """
    text = yaml.safe_dump(variant.keys.model_dump(mode="json", by_alias=True), sort_keys=False)
    head = "# Made by `airouter quantize`; it is read strictly and must not be edited.\n"
    contents = {WEIGHTS: variant.data, SELFTEST: variant.selftest, FILE: (head + text).encode()}
    try:
        # All are on the disk before the first takes its name: a full one leaves an earlier variant as it was.
        with tempfile.TemporaryDirectory(prefix=".int8-", dir=folder) as beside:
            for name, content in contents.items():
                with (Path(beside) / name).open("wb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
            for name in contents:
                (Path(beside) / name).replace(folder / name)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise NotQuantizable(f"{folder}: cannot be written: {error.strerror}") from error


def _read(folder: Path) -> VariantKeys:
    path = folder / FILE
    if not path.exists():
        raise ModelRefused(f"{path}: is missing, and {SETTING} names the model; `airouter quantize` makes it")
    try:
        return VariantKeys.model_validate(manifest.mapping(path))
    except ManifestError as error:
        raise ModelRefused(str(error)) from error
    except ValidationError as error:
        raise ModelRefused(f"{path}: {manifest.reasons(error)}") from error


def _refused(folder: Path, reason: str) -> ModelRefused:
    return ModelRefused(f"{folder / FILE}: {reason}; run `airouter quantize` again, or take the model out of {SETTING}")
