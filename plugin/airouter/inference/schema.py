"""models/<name>/manifest.yaml as pydantic classes: which keys there are, their types and defaults.

Only shape and type are said here; `airouter.inference.manifest` says what must agree with what. Whatever decides the
numbers that reach the model (layout, colour, size, fit, range) has no default: a wrong guess would go unnoticed.
Meanings and examples: docs/reference/manifest.md, which a test compares with these classes.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from airouter.domain.model import Activation, Fit, HeadKind
from airouter.domain.study import Modality

# Texts that end in DICOM attributes of VR LO: at most 64 characters, no backslash, no control characters (PS3.5 6.2).
_NOT_BLANK = r"^[^\\\x00-\x1f\x7f]*[^\\\x00-\x20\x7f][^\\\x00-\x1f\x7f]*$"
LongString = Annotated[str, Field(max_length=64, pattern=_NOT_BLANK)]
# Code Value and Coding Scheme Designator are of VR SH.
ShortString = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[^\\\s\x00-\x1f\x7f]+$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Length = Annotated[int, Field(ge=1, le=16384)]


class Strict(BaseModel):
    """Unknown keys, implicit conversions, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class WeightsKeys(Strict):
    """Which file, and the digest it must have."""

    file: FileName = "model.onnx"
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ReadsKeys(Strict):
    """Which images the model may be given."""

    modality: Annotated[Modality, Field(strict=False)]
    sop_classes: list[str] = []
    stains: list[LongString] = []
    laterality: Literal["optional", "required"] = "optional"


class PaddingKeys(Strict):
    """How missing pixels are filled."""

    mode: Literal["constant", "reflect", "edge"] = "constant"
    value: Annotated[int, Field(ge=0, le=255)] = 0


class InputKeys(Strict):
    """The input tensor and how 8-bit pixels become it."""

    name: Annotated[str, Field(min_length=1)]
    layout: Literal["NCHW", "NHWC"]
    channels: Literal[1, 3]
    colour: Literal["RGB", "BGR", "GRAY"]
    size: Annotated[list[Length], Field(min_length=2, max_length=2)]
    spacing_um: Annotated[float, Field(gt=0.0)] | None = None
    fit: Annotated[Fit, Field(strict=False)]
    overlap: Annotated[int, Field(ge=0)] = 0
    transpose: bool = False
    icc: Literal["ignore", "srgb"] = "ignore"
    range: Annotated[list[float], Field(min_length=2, max_length=2)]
    mean: list[float] | None = None
    std: list[Annotated[float, Field(gt=0.0)]] | None = None
    padding: PaddingKeys = PaddingKeys()
    batch: Annotated[int, Field(ge=1, le=1024)] = 1


class CodeKeys(Strict):
    """A coded concept."""

    value: ShortString
    scheme: ShortString
    meaning: LongString


class ClassKeys(Strict):
    """One channel of a segmentation, one answer of a classification, or one number of a regression."""

    name: LongString
    code: CodeKeys | None = None
    threshold: Probability = 0.5


class HeadKeys(Strict):
    """The output tensor and what its channels mean."""

    kind: Annotated[HeadKind, Field(strict=False)]
    output: Annotated[str, Field(min_length=1)]
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    activation: Annotated[Activation, Field(strict=False)] = Activation.NONE
    classes: list[ClassKeys] = []
    exclusive: bool = False
    unit: Annotated[str, Field(pattern=r"^[!-~]{1,16}$")] | None = None


class TrainingKeys(Strict):
    """Where the weights come from."""

    data: Annotated[str, Field(min_length=1)]
    script: Annotated[str, Field(min_length=1)] | None = None


class EvidenceKeys(Strict):
    """One measured figure."""

    dataset: Annotated[str, Field(min_length=1)]
    metric: Annotated[str, Field(min_length=1)]
    value: float
    n: Annotated[int, Field(ge=1)] | None = None


class QuantizationKeys(Strict):
    """How faithful 8-bit weights must be to be used instead."""

    tolerance: Annotated[float, Field(gt=0.0, le=1.0)]


class ManifestKeys(Strict):
    """The whole file."""

    version_of_schema: Annotated[Literal[1], Field(alias="schema")]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")]
    title: LongString
    manufacturer: LongString
    # The characters of an SPDX licence expression; LicenseRef-... names one that SPDX does not list.
    licence: Annotated[str, Field(pattern=r"^[(A-Za-z0-9][A-Za-z0-9.+:() -]*$")]
    intended_use: Literal["demonstration", "research", "clinical"]
    description: Annotated[str, Field(min_length=1)]
    weights: WeightsKeys
    reads: ReadsKeys
    input: InputKeys
    head: HeadKeys
    parameters: dict[str, str | int | float | bool] = {}
    training: TrainingKeys | None = None
    evidence: list[EvidenceKeys] = []
    quantization: QuantizationKeys | None = None
