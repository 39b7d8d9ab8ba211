"""A manifest is right in every key, or refused with the file, the key and the reason."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from airouter.domain.code import Code
from airouter.domain.model import Activation, Fit, HeadKind, Padding
from airouter.domain.study import Modality
from airouter.errors import ManifestError
from airouter.inference import manifest
from airouter.inference.schema import ManifestKeys
from tests.model_folders import classes, write
from tests.model_folders import manifest as sound

ROOT = Path(__file__).resolve().parents[2]
NUCLEUS = {"value": "84640000", "scheme": "SCT", "meaning": "Nucleus"}
TILE = {
    "reads__modality": "SM",
    "input__fit": "tile",
    "input__size": [64, 32],
    "input__spacing_um": 0.5,
    "input__overlap": 8,
}


def test_every_key_reaches_the_model(tmp_path: Path) -> None:
    content = sound(
        reads={
            "modality": "SM",
            "sop_classes": ["1.2.840.10008.5.1.4.1.1.77.1.6"],
            "stains": ["H&E"],
            "laterality": "optional",
        },
        input={
            "name": "image",
            "layout": "NHWC",
            "channels": 3,
            "colour": "BGR",
            "size": [64, 32],
            "spacing_um": 1,
            "fit": "tile",
            "overlap": 15,
            "transpose": False,
            "icc": "srgb",
            "range": [-1, 1],
            "mean": [0.1, 0.2, 0.3],
            "std": [1, 2, 3],
            "padding": {"mode": "reflect", "value": 7},
            "batch": 4,
        },
        head={
            "kind": "segmentation",
            "output": "maps",
            "layout": "NHWC",
            "activation": "softmax",
            "classes": [{"name": "nucleus", "code": NUCLEUS, "threshold": 0.25}, {"name": "rest"}],
            "exclusive": True,
            "unit": None,
        },
        parameters={"a": 1, "b": 0.5, "c": "text", "d": True},
        training={"data": "none", "script": None},
        evidence=[{"dataset": "some", "metric": "F1", "value": 0.8, "n": 12}],
    )
    model = manifest.load(write(tmp_path, content))
    assert (model.name, model.version, model.sha256) == ("stub", "1.0.0", content["weights"]["sha256"])
    assert model.reads.modality is Modality.SM
    assert (model.reads.stains, model.reads.laterality_required) == (("H&E",), False)
    image = model.input
    assert (image.name, image.layout, image.colour, image.size) == ("image", "NHWC", "BGR", (64, 32))
    assert (image.spacing_um, image.fit, image.overlap, image.batch) == (1.0, Fit.TILE, 15, 4)
    assert (image.range, image.mean, image.std) == ((-1.0, 1.0), (0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    assert image.padding == Padding("reflect", 7)
    assert image.icc is True
    head = model.head
    assert (head.kind, head.output, head.layout) == (HeadKind.SEGMENTATION, "maps", "NHWC")
    assert (head.activation, head.exclusive) == (Activation.SOFTMAX, True)
    assert (head.classes[0].code, head.classes[0].threshold) == (Code("84640000", "SCT", "Nucleus"), 0.25)
    assert (head.classes[1].code, head.classes[1].threshold) == (None, 0.5)
    assert model.parameters == {"a": 1, "b": 0.5, "c": "text", "d": True}
    assert type(model.parameters["a"]) is int
    assert type(model.parameters["d"]) is bool
    assert (model.evidence[0].value, model.evidence[0].n) == (0.8, 12)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": "Upper"}, "name"),
    ({"version": 1.0}, "version"),
    ({"version": ...}, "version"),
    ({"licence": " "}, "licence"),
    ({"intended_use": "diagnosis"}, "intended_use"),
    ({"title": "t" * 65}, "title"),
    ({"manufacturer": "back\\slash"}, "manufacturer"),
    ({"colour": "RGB"}, "colour"),
    ({"schema": 2}, "schema"),
    ({"schema": "1"}, "schema"),
    ({"weights__sha256": "0" * 63}, "weights.sha256"),
    ({"weights__sha256": "G" * 64}, "weights.sha256"),
    ({"weights__file": "../model.onnx"}, "weights.file"),
    ({"weights__file": "/model.onnx"}, "weights.file"),
    ({"weights__url": "x"}, "weights.url"),
    ({"reads__modality": "CT"}, "reads.modality"),
    ({"reads__sop_classes": ["1.2.840.10008.5.1.4.1.1.77.1.6"]}, "reads.sop_classes[0]"),
    ({"reads__stains": ["H&E"]}, "reads.stains"),
    (TILE | {"reads__laterality": "required"}, "reads.laterality"),
    ({"input__layout": ...}, "input.layout"),
    ({"input__layout": "CHW"}, "input.layout"),
    ({"input__range": ...}, "input.range"),
    ({"input__range": [0.0, 0.0]}, "input.range"),
    ({"input__range": [0.0, float("nan")]}, "input.range[1]"),
    ({"input__range": [0.0, 1.0, 2.0]}, "input.range"),
    ({"input__range": ["0", "1"]}, "input.range[0]"),
    ({"input__channels": 4}, "input.channels"),
    ({"input__channels": 1}, "input.colour"),
    ({"input__colour": "GRAY"}, "input.colour"),
    ({"input__size": [8]}, "input.size"),
    ({"input__size": [8, 0]}, "input.size[1]"),
    ({"input__size": [8.0, 8.0]}, "input.size[0]"),
    ({"input__mean": [0.5]}, "input.mean"),
    ({"input__std": [1.0, 1.0]}, "input.std"),
    ({"input__std": [1.0, 0.0, 1.0]}, "input.std[1]"),
    ({"input__padding": {"mode": "wrap"}}, "input.padding.mode"),
    ({"input__padding": {"value": 256}}, "input.padding.value"),
    ({"input__batch": 0}, "input.batch"),
    ({"input__batch": True}, "input.batch"),
    ({"input__transpose": "no"}, "input.transpose"),
    ({"input__icc": "srgb"}, "input.icc"),
    (TILE | {"input__icc": "display"}, "input.icc"),
    ({"input__overlap": 1}, "input.overlap"),
    ({"input__spacing_um": 0.5}, "input.spacing_um"),
    ({"input__fit": "tile", "input__spacing_um": 0.5}, "input.fit"),
    (TILE | {"input__spacing_um": ...}, "input.spacing_um"),
    (TILE | {"input__spacing_um": -0.5}, "input.spacing_um"),
    (TILE | {"input__overlap": 16}, "input.overlap"),
    (TILE | {"input__overlap": -1}, "input.overlap"),
    (TILE | {"input__transpose": True}, "input.transpose"),
    ({"head__kind": "detection"}, "head.kind"),
    ({"head__kind": "rules"}, "head.kind"),
    ({"head__classes": []}, "head.classes"),
    ({"head__kind": "classification", "head__classes": []}, "head.classes"),
    ({"head__kind": "embedding"}, "head.classes"),
    ({"head__classes": classes("a", "a")}, "head.classes[1].name"),
    ({"head__classes": [{"name": "a", "threshold": 1.5}]}, "head.classes[0].threshold"),
    ({"head__classes": [{"name": "a", "code": NUCLEUS | {"value": 84640000}}]}, "head.classes[0].code.value"),
    ({"head__classes": [{"name": "a", "code": NUCLEUS | {"value": "84640001"}}]}, "head.classes[0].code.value"),
    ({"head__classes": [{"name": "a", "code": NUCLEUS | {"meaning": ""}}]}, "head.classes[0].code.meaning"),
    ({"head__classes": [{"name": "a", "code": NUCLEUS | {"scheme": "s" * 17}}]}, "head.classes[0].code.scheme"),
    ({"head__activation": "softmax"}, "head.exclusive"),
    ({"head__activation": "sigmoid", "head__exclusive": True}, "head.exclusive"),
    ({"head__classes": classes("a"), "head__exclusive": True}, "head.exclusive"),
    ({"head__kind": "regression", "head__classes": []}, "head.unit"),
    ({"head__unit": "um"}, "head.unit"),
    ({"head__kind": "embedding", "head__classes": [], "head__activation": "sigmoid"}, "head.activation"),
    ({"parameters": {"a": [1]}}, "parameters.a"),
    ({"parameters": {"a": None}}, "parameters.a"),
    ({"training": {"data": ""}}, "training.data"),
    ({"evidence": [{"dataset": "d", "metric": "m", "value": "good"}]}, "evidence[0].value"),
    ({"evidence": [{"dataset": "d", "metric": "m", "value": float("inf")}]}, "evidence[0].value"),
]


@pytest.mark.parametrize(("changes", "key"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_a_wrong_value_is_refused_by_file_key_and_reason(tmp_path: Path, changes: dict[str, Any], key: str) -> None:
    folder = write(tmp_path)
    (folder / "manifest.yaml").write_text(yaml.safe_dump(sound(**changes)))
    with pytest.raises(ManifestError) as caught:
        manifest.load(folder)
    message = str(caught.value)
    assert str(folder / "manifest.yaml") in message
    assert re.search(rf"(^|[:;] ){re.escape(key)}(\.\w+)*: \S", message), message


def test_every_wrong_key_is_told_at_once(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "manifest.yaml").write_text(yaml.safe_dump(sound(input__batch=0, head__layout="HW")))
    with pytest.raises(ManifestError, match=r"input\.batch: .*; head\.layout: "):
        manifest.load(folder)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a mapping"),
        ("- a\n", "not a mapping"),
        ("a: [", "not YAML"),
        ("\x00", "not YAML"),
        ("a: !!python/object/apply:os.getcwd []", "not YAML"),
        ("name: a\nname: b\n", "'name' is said twice"),
        ("a: &a [1]\nb: *a\n", "aliases are not allowed"),
        ("[" * 5000, "not YAML"),
        ("a: " + "b" * 300_000, "larger than"),
        ("? [a]\n: b\n", "not YAML"),
        ("1: a\n", "Keys should be strings"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    folder = write(tmp_path)
    (folder / "manifest.yaml").write_text(text)
    with pytest.raises(ManifestError, match=re.escape(reason)):
        manifest.load(folder)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "manifest.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(ManifestError, match="not YAML"):
        manifest.load(folder)


def test_a_version_that_looks_like_a_date_is_text(tmp_path: Path) -> None:
    folder = write(tmp_path)
    text = (folder / "manifest.yaml").read_text().replace("version: 1.0.0", "version: 2026-01-31")
    (folder / "manifest.yaml").write_text(text)
    assert manifest.load(folder).version == "2026-01-31"


@pytest.mark.parametrize("missing", ["manifest.yaml", "card.md"])
def test_a_folder_without_manifest_or_card_is_refused(tmp_path: Path, missing: str) -> None:
    folder = write(tmp_path)
    (folder / missing).unlink()
    with pytest.raises(ManifestError, match=re.escape(missing)):
        manifest.load(folder)


def test_the_name_is_the_folders_name(tmp_path: Path) -> None:
    folder = write(tmp_path).rename(tmp_path / "other")
    with pytest.raises(ManifestError, match="the folder is called 'other'"):
        manifest.load(folder)


@pytest.mark.parametrize("value", ["84640000", "85756007", "81745001", "5665001", "999480451000087102"])
def test_snomed_identifiers_have_a_check_digit(value: str) -> None:
    assert manifest.is_sctid(value)
    for place in range(len(value)):
        for digit in "0123456789":
            changed = value[:place] + digit + value[place + 1 :]
            assert manifest.is_sctid(changed) == (changed == value)


@pytest.mark.parametrize("value", ["", "12345", "08464000", "8464000O", "８４６４００００", "1" * 19])
def test_what_is_no_snomed_identifier(value: str) -> None:
    assert not manifest.is_sctid(value)


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted paths of every key; a list's items are written with []."""
    for name, field in model.model_fields.items():
        path = prefix + (field.alias or name)
        yield path
        for inner, suffix in inner_models(field.annotation):
            yield from keys_of(inner, f"{path}{suffix}.")


def inner_models(annotation: Any) -> Iterator[tuple[type[BaseModel], str]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, ""
    for argument in get_args(annotation):
        for inner, suffix in inner_models(argument):
            yield inner, "[]" + suffix if getattr(annotation, "__origin__", None) is list else suffix


def test_the_reference_has_an_entry_for_every_key_and_no_other() -> None:
    text = (ROOT / "docs" / "reference" / "manifest.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#{3,4} `([^`]+)`$", text, re.MULTILINE)
    assert headings == list(keys_of(ManifestKeys))
    assert len(headings) > 50
    for entry in re.split(r"^#{3,4} `", text, flags=re.MULTILINE)[1:]:
        assert re.search(r"^- Type: \S.*\n- Default: \S", entry, re.MULTILINE), entry


def test_the_example_of_the_reference_is_sound(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "reference" / "manifest.md").read_text(encoding="utf-8")
    found = re.search(r"^```yaml\n(schema: 1\n.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found
    folder = tmp_path / yaml.safe_load(found[1])["name"]
    folder.mkdir()
    (folder / "manifest.yaml").write_text(found[1])
    (folder / "card.md").write_text("# Card\n")
    assert manifest.load(folder).head.classes[0].code == Code("84640000", "SCT", "Nucleus")
