"""A model folder as a value: manifest.yaml is read, checked whole, and becomes `airouter.domain.model.Model`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from airouter.domain.code import Code
from airouter.domain.model import Activation, Evidence, Fit, Head, HeadKind, Model, ModelClass, ModelInput, Padding
from airouter.domain.model import Reads as ModelReads
from airouter.domain.study import SOURCE_SOP_CLASSES, Modality
from airouter.errors import ManifestError
from airouter.inference.schema import HeadKeys, InputKeys, ManifestKeys, ReadsKeys

FILE = "manifest.yaml"
CARD = "card.md"

_MOST_BYTES = 256 * 1024  # a manifest is a page of text; anything larger is not one


class _Loader(yaml.SafeLoader):
    """YAML without a key said twice, without aliases, and without dates (a version may look like one)."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(None, None, "aliases are not allowed", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is said twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(folder: Path) -> Model:
    """Read and check a model folder's manifest. The weights are not opened.

    Raises ManifestError naming the file, every wrong key by its path, and the reason.
    """
    return model_of(read(folder))


def read(folder: Path) -> ManifestKeys:
    """manifest.yaml as its keys, checked as `load` does. Raises ManifestError."""
    path = folder / FILE
    keys = _parse(path)
    problems = list(_contradictions(keys, folder))
    if problems:
        raise ManifestError(f"{path}: " + "; ".join(f"{where}: {reason}" for where, reason in problems))
    return keys


def mapping(path: Path) -> dict[Any, Any]:
    """A YAML file of keys, read strictly. Raises ManifestError naming the file."""
    try:
        with path.open("rb") as stream:
            text = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}") from error
    if len(text) > _MOST_BYTES:
        raise ManifestError(f"{path}: larger than {_MOST_BYTES} bytes")
    try:
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader, only stricter
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ManifestError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ManifestError(f"{path}: not a mapping of keys")
    return content


def reasons(error: ValidationError) -> str:
    """Every wrong key by its path, and why."""
    found = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{_dotted(line['loc'])}: {line['msg']}" for line in found)


def _parse(path: Path) -> ManifestKeys:
    try:
        return ManifestKeys.model_validate(mapping(path))
    except ValidationError as error:
        raise ManifestError(f"{path}: {reasons(error)}") from error


def _dotted(location: tuple[int | str, ...]) -> str:
    """("head", "classes", 0, "name") as head.classes[0].name."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _contradictions(keys: ManifestKeys, folder: Path) -> Iterator[tuple[str, str]]:
    """Key path and reason of everything that is well-formed and cannot be right."""
    if keys.name != folder.resolve().name:
        yield "name", f"is {keys.name!r}, but the folder is called {folder.resolve().name!r}"
    if not (folder / CARD).is_file():
        yield CARD, "is missing: a model folder says in it what the model was trained on and how it was measured"
    yield from _of_reads(keys.reads)
    yield from _of_input(keys.input, keys.reads.modality)
    yield from _of_head(keys.head)


def _of_reads(reads: ReadsKeys) -> Iterator[tuple[str, str]]:
    for i, uid in enumerate(reads.sop_classes):
        if SOURCE_SOP_CLASSES.get(uid) is not reads.modality:
            yield f"reads.sop_classes[{i}]", f"{uid!r} is not a SOP class of modality {reads.modality} that is read"
    if reads.stains and reads.modality is not Modality.SM:
        yield "reads.stains", "only slides (SM) are stained"
    if reads.laterality == "required" and reads.modality is Modality.SM:
        yield "reads.laterality", "a slide (SM) has none"


def _of_input(image: InputKeys, modality: Modality) -> Iterator[tuple[str, str]]:
    if (image.colour == "GRAY") != (image.channels == 1):
        yield "input.colour", f"{image.colour} does not go with {image.channels} channels"
    if image.range[0] == image.range[1]:
        yield "input.range", "both ends are the same"
    for key, values in (("mean", image.mean), ("std", image.std)):
        if values is not None and len(values) != image.channels:
            yield f"input.{key}", f"has {len(values)} values for {image.channels} channels"
    if image.fit is Fit.TILE:
        if modality is not Modality.SM:
            yield (
                "input.fit",
                f"tile is for slides (SM); a whole {modality} image takes stretch, letterbox or pad",
            )
        if image.spacing_um is None:
            yield "input.spacing_um", "is needed with fit: tile"
        if image.transpose:
            yield "input.transpose", "has no meaning with fit: tile"
        if image.overlap * 2 >= min(image.size):
            yield "input.overlap", f"must be less than half of the shorter side, {min(image.size)}"
    else:
        if image.icc != "ignore":
            yield "input.icc", f"has no meaning with fit: {image.fit}"
        if image.spacing_um is not None:
            yield "input.spacing_um", f"has no meaning with fit: {image.fit}"
        if image.overlap:
            yield "input.overlap", f"has no meaning with fit: {image.fit}"


def _of_head(head: HeadKeys) -> Iterator[tuple[str, str]]:
    if head.kind is HeadKind.RULES:
        yield "head.kind", "stands for what needs no model; a model is one of the other kinds"
    maps = head.kind in (HeadKind.SEGMENTATION, HeadKind.CLASSIFICATION)
    if maps and not head.classes:
        yield "head.classes", f"are needed with kind: {head.kind}"
    if head.kind is HeadKind.EMBEDDING and head.classes:
        yield "head.classes", "an embedding has none"
    names = [c.name for c in head.classes]
    for i, name in enumerate(names):
        if name in names[:i]:
            yield f"head.classes[{i}].name", f"{name!r} is used twice"
    for i, entry in enumerate(head.classes):
        if entry.code and entry.code.scheme == "SCT" and not is_sctid(entry.code.value):
            yield f"head.classes[{i}].code.value", f"{entry.code.value!r} is not a SNOMED CT identifier"
    if not maps and head.activation is not Activation.NONE:
        yield "head.activation", f"has no meaning with kind: {head.kind}"
    if head.exclusive and (not maps or len(head.classes) < 2):
        yield "head.exclusive", "needs at least two classes to choose from"
    if head.activation is Activation.SOFTMAX and not head.exclusive:
        yield "head.exclusive", "must be true with activation: softmax"
    if head.activation is Activation.SIGMOID and head.exclusive:
        yield "head.exclusive", "must be false with activation: sigmoid"
    if head.kind is HeadKind.REGRESSION and head.unit is None:
        yield "head.unit", "a regression needs its UCUM unit ('1' where it has none)"
    if head.kind is not HeadKind.REGRESSION and head.unit is not None:
        yield "head.unit", f"has no meaning with kind: {head.kind}"


# Verhoeff's check: the dihedral group D5 and the powers of one permutation
# (SNOMED CT Release File Specifications, Check-digit Computation).
_D5 = [[(i + j) % 5 + 5 * (j > 4) if i < 5 else (i - j) % 5 + 5 * (j < 5) for j in range(10)] for i in range(10)]
_PERMUTATION = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def is_sctid(value: str) -> bool:
    """Whether a text is a SNOMED CT identifier: 6 to 18 digits, the last a Verhoeff check digit."""
    if not (6 <= len(value) <= 18 and value.isascii() and value.isdigit()) or value[0] == "0":
        return False
    check = 0
    for position, digit in enumerate(reversed(value)):
        item = int(digit)
        for _ in range(position % 8):
            item = _PERMUTATION[item]
        check = _D5[check][item]
    return check == 0


def model_of(keys: ManifestKeys) -> Model:
    """The domain's value of a checked manifest."""
    image, head = keys.input, keys.head
    return Model(
        name=keys.name,
        version=keys.version,
        title=keys.title,
        manufacturer=keys.manufacturer,
        licence=keys.licence,
        intended_use=keys.intended_use,
        description=keys.description,
        sha256=keys.weights.sha256,
        reads=ModelReads(
            modality=keys.reads.modality,
            sop_classes=tuple(keys.reads.sop_classes),
            stains=tuple(keys.reads.stains),
            laterality_required=keys.reads.laterality == "required",
        ),
        input=ModelInput(
            name=image.name,
            layout=image.layout,
            channels=image.channels,
            colour=image.colour,
            size=(image.size[0], image.size[1]),
            spacing_um=image.spacing_um,
            fit=image.fit,
            overlap=image.overlap,
            transpose=image.transpose,
            icc=image.icc == "srgb",
            range=(image.range[0], image.range[1]),
            mean=None if image.mean is None else tuple(image.mean),
            std=None if image.std is None else tuple(image.std),
            padding=Padding(image.padding.mode, image.padding.value),
            batch=image.batch,
        ),
        head=Head(
            kind=head.kind,
            output=head.output,
            layout=head.layout,
            activation=head.activation,
            classes=tuple(
                ModelClass(c.name, Code(c.code.value, c.code.scheme, c.code.meaning) if c.code else None, c.threshold)
                for c in head.classes
            ),
            exclusive=head.exclusive,
            unit=head.unit,
        ),
        parameters=dict(keys.parameters),
        evidence=tuple(Evidence(e.dataset, e.metric, e.value, e.n) for e in keys.evidence),
    )
