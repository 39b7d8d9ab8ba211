"""8-bit weights: made from images, measured on others, kept only if they agree, loaded only while all of it holds."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper
from pydicom import dcmread, dcmwrite
from typer.testing import CliRunner

from airouter import config
from airouter.adapters.files import LocalFiles
from airouter.cli import app
from airouter.domain.model import Model
from airouter.errors import ManifestError, ModelRefused, NotQuantizable, PixelDataError
from airouter.imaging.reader import open_images
from airouter.imaging.slide import Slide
from airouter.inference import manifest, selftest, variant
from airouter.inference.repository import ModelRepository
from airouter.services.pictures import pictures_for
from airouter.services.preflight import problems
from airouter.services.quantise import Outcome, Plan, make
from phantoms.dicom import fundus_instance, oct_instance, slide_instances
from phantoms.fundus import fundus
from phantoms.oct import volume
from phantoms.slide import slide
from tests.model_folders import classes, convnet, graph, identity, write
from tests.model_folders import manifest as keys

runner = CliRunner()
SMALL = Plan(calibrate=12, check=16)

TILE: dict[str, Any] = {
    "reads": {"modality": "SM"},
    "input__size": [64, 64],
    "input__fit": "tile",
    "input__spacing_um": 1.0,
    "input__overlap": 8,
    "input__batch": 4,
    "quantization": {"tolerance": 0.7},  # of a random net, whose decisions are close ones
}
CLASSIFIES = {
    "head__kind": "classification",
    "head__activation": "softmax",
    "head__exclusive": True,
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two slides, one of each stain; photographs; and a volume."""
    root = tmp_path_factory.mktemp("images")

    def put(kind: str, datasets: Sequence[Any]) -> None:
        (root / kind).mkdir(exist_ok=True)
        for dataset in datasets:
            dcmwrite(root / kind / f"{dataset.SOPInstanceUID}.dcm", dataset, enforce_file_format=True)

    for stain in ("H&E", "H-DAB"):
        rgb = slide(512, 512, 1.0, stain, seed=len(stain)).rgb  # type: ignore[arg-type]
        put("slides", slide_instances(rgb, 1.0, levels=2, stain=stain, seed=stain))  # type: ignore[arg-type]
    put("photographs", [fundus_instance(fundus(256, "R", seed=n).rgb, seed=n) for n in range(16)])
    put("volumes", [oct_instance(volume(17, 96, 64, axial_um=10.0, seed=1).frames, axial_um=10.0, seed="oct")])
    return root


@pytest.fixture(scope="module")
def made(images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A segmentation model with its variant. To be copied, not changed."""
    models = tmp_path_factory.mktemp("models")
    folder = write(models, keys(**TILE), convnet())
    return folder, make(folder, LocalFiles([images]), SMALL)


@pytest.fixture
def models(made: tuple[Path, Outcome], tmp_path: Path) -> Path:
    """A models folder of its own with the quantised model."""
    shutil.copytree(made[0].parent, tmp_path / "models")
    return tmp_path / "models"


def why_not(models: Path, name: str = "stub") -> str | None:
    (status,) = [s for s in ModelRepository(models, quantized=[name]).status() if s.name == name]
    return None if status.usable else status.reason


def record(folder: Path, **changes: Any) -> None:
    """Change keys of int8.yaml."""
    path = folder / variant.FILE
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


# -- what is made ------------------------------------------------------------------------------------------------------


def test_a_variant_agrees_is_smaller_and_says_what_it_was_made_of(made: tuple[Path, Outcome]) -> None:
    folder, outcome = made
    assert outcome.written
    assert 0.7 <= outcome.agreement < 1.0
    assert (outcome.metric, outcome.tolerance) == ("dice", 0.7)
    assert (outcome.calibrated, outcome.checked, outcome.sets) == (12, 16, 2)
    assert outcome.left_out == {"OP is not what the model reads (SM)": 16, "OPT is not what the model reads (SM)": 1}
    assert set(outcome.shows) == {"red", "green", "blue"}
    assert min(outcome.seconds) > 0
    said = yaml.safe_load((folder / variant.FILE).read_text())
    for name, file in (("sha256", variant.WEIGHTS), ("selftest_sha256", variant.SELFTEST), ("made_from", "model.onnx")):
        assert said[name] == hashlib.sha256((folder / file).read_bytes()).hexdigest()
    assert said["agreement"] == outcome.agreement
    assert said["calibration"]["images"] == 12
    assert said["check"]["images"] == 16
    assert said["calibration"]["sha256"] != said["check"]["sha256"]


def test_nothing_of_the_images_but_digests_is_kept(made: tuple[Path, Outcome], images: Path) -> None:
    folder, _ = made
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["card.md", "manifest.yaml", "model.onnx", variant.FILE, variant.SELFTEST, variant.WEIGHTS]
    )
    text = (folder / variant.FILE).read_text()
    for file in images.rglob("*.dcm"):
        assert file.stem not in text
    with np.load(folder / variant.SELFTEST) as arrays:
        tensor = arrays["input"]
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    np.testing.assert_allclose(tensor[0], np.moveaxis(noise, 2, 0) / np.float32(255), atol=1e-6)


def test_the_graph_is_of_the_standard_alone_with_a_scale_for_each_channel(made: tuple[Path, Outcome]) -> None:
    proto = onnx.load(str(made[0] / variant.WEIGHTS))
    assert {node.domain for node in proto.graph.node} == {""}
    assert {entry.domain for entry in proto.opset_import} == {""}
    kinds = [node.op_type for node in proto.graph.node]
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= set(kinds)
    assert "BatchNormalization" not in kinds
    values = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    kernels = {name: v for name, v in values.items() if v.ndim == 4 and v.dtype == np.int8}
    assert len(kernels) == 2, "two convolutions in 8 bits, the one that makes the output in float32"
    for kernel in kernels.values():
        assert np.abs(kernel.astype(int)).max() <= 64, "7 bits: two products must fit into 16"
    assert {v.shape for v in values.values() if v.dtype == np.float32 and v.ndim == 1} >= {(8,), (16,)}


def test_the_same_images_and_seed_make_the_same_weights(
    images: Path, made: tuple[Path, Outcome], tmp_path: Path
) -> None:
    again = write(tmp_path, keys(**TILE), convnet())
    make(again, LocalFiles([images]), SMALL)
    said, known = (yaml.safe_load((folder / variant.FILE).read_text()) for folder in (again, made[0]))
    assert said == known
    make(again, LocalFiles([images]), Plan(calibrate=12, check=16, seed=1))
    other = yaml.safe_load((again / variant.FILE).read_text())
    assert other["calibration"]["sha256"] != known["calibration"]["sha256"]


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_every_method_makes_one(method: Any, images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path, keys(**TILE), convnet())
    outcome = make(folder, LocalFiles([images]), Plan(calibrate=8, check=8, method=method))
    assert outcome.agreement > 0.6
    assert capfd.readouterr().out == ""
    if outcome.written:
        assert yaml.safe_load((folder / variant.FILE).read_text())["calibration"]["method"] == method


def of_opset(version: int, proto: onnx.ModelProto) -> onnx.ModelProto:
    proto.opset_import[0].version = version
    return proto


@pytest.mark.parametrize(
    ("proto", "changes"),
    [
        (convnet((4, 3, 64, 64)), {}),  # a fixed batch
        (convnet((4, 3, 64, 64)), {"input__batch": 3}),
        (convnet(pooled=True), CLASSIFIES),
        (convnet(pooled=True), {"head__kind": "embedding", "head__classes": [], "quantization": {"tolerance": 0.99}}),
        (convnet(pooled=True), {"head__kind": "regression", "head__unit": "um", "quantization": {"tolerance": 0.1}}),
        (convnet(), {"reads": {"modality": "SM", "stains": ["H&E"]}}),
        (of_opset(11, convnet()), {}),
    ],
    ids=["fixed batch", "another batch", "classification", "embedding", "regression", "one stain", "old opset"],
)
def test_every_kind_of_model_can_have_one(
    proto: onnx.ModelProto, changes: dict[str, Any], images: Path, tmp_path: Path
) -> None:
    write(tmp_path, keys(**TILE | changes), proto)
    outcome = make(tmp_path / "stub", LocalFiles([images / "slides"]), SMALL)
    assert outcome.written, outcome
    assert why_not(tmp_path) is None
    assert outcome.sets == (1 if "reads" in changes else 2)


@pytest.mark.parametrize(
    ("modality", "fit", "kind"),
    [("OP", "stretch", "photographs"), ("OP", "letterbox", "photographs"), ("OPT", "pad", "volumes")],
)
def test_whole_images_are_fitted_as_they_will_be(
    modality: str, fit: str, kind: str, images: Path, tmp_path: Path
) -> None:
    content = keys(
        reads={"modality": modality},
        input__size=[64, 48],
        input__fit=fit,
        input__batch=2,
        quantization={"tolerance": 0.6},
    )
    folder = write(tmp_path, content, convnet())
    outcome = make(folder, LocalFiles([images]), Plan(calibrate=8, check=8))
    assert outcome.written, outcome
    assert (outcome.calibrated, outcome.checked) == (8, 8)
    assert outcome.images == (len(list((images / kind).iterdir())) if modality == "OP" else 17)
    assert why_not(tmp_path) is None


def test_patches_are_those_of_the_pipelines(images: Path, tmp_path: Path) -> None:
    model = manifest.load(write(tmp_path, keys(**TILE), convnet()))
    source = LocalFiles([images / "slides"])
    found = pictures_for(model, source)
    expected = []
    for each in source.image_sets():
        opened = open_images(each.modality, [(i, source.header(i.id)) for i in each.instances], source.frames)
        assert isinstance(opened, Slide)
        plan = opened.patches(1.0, size=(64, 64), overlap=8, tissue=opened.tissue())
        expected += [patch.pixels for patch in plan]  # type: ignore[union-attr]
    assert len(found.pictures) == len(expected)
    for picture, pixels in zip(found.pictures, expected, strict=True):
        np.testing.assert_array_equal(picture(), pixels)


@pytest.mark.parametrize(
    ("content", "kind", "spoil", "reason"),
    [
        (TILE | {"reads": {"modality": "SM", "stains": ["H&E"]}}, "slides", "SpecimenDescriptionSequence",
         "the stain is not stated"),
        (TILE, "slides", "ImageOrientationSlide", "does not say where its pixels lie"),
        ({"quantization": {"tolerance": 0.5}}, "photographs", "NumberOfFrames", "has 2 frames"),
        ({"quantization": {"tolerance": 0.5}}, "photographs", "SamplesPerPixel", "is monochrome"),
    ],
)  # fmt: skip
def test_what_the_pipelines_would_not_read_is_left_out_and_the_others_are_used(
    content: dict[str, Any], kind: str, spoil: str, reason: str, images: Path, tmp_path: Path
) -> None:
    files = sorted((images / kind).iterdir())
    series = dcmread(files[0]).SeriesInstanceUID
    for file in files:
        dataset = dcmread(file)
        if dataset.SeriesInstanceUID == series:
            if spoil in ("NumberOfFrames", "SamplesPerPixel"):
                setattr(dataset, spoil, {"NumberOfFrames": 2, "SamplesPerPixel": 1}[spoil])
            else:
                del dataset[spoil]
        dcmwrite(tmp_path / file.name, dataset, enforce_file_format=True)
    model = manifest.load(write(tmp_path / "models", keys(**content), convnet()))
    source = LocalFiles([tmp_path])
    found = pictures_for(model, source)
    (why,) = [why for why in found.left_out if reason in why]
    assert found.left_out[why] == 1
    assert found.sets + sum(found.left_out.values()) == len(source.image_sets())
    assert all(picture().size for picture in found.pictures)


@pytest.mark.parametrize(("kind", "modality"), [("photographs", "OP"), ("volumes", "OPT")])
def test_a_damaged_image_is_named(kind: str, modality: str, images: Path, tmp_path: Path) -> None:
    dataset = dcmread(next((images / kind).iterdir()))
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 4 * 2]
    dcmwrite(tmp_path / "damaged", dataset, enforce_file_format=True)
    model = manifest.load(write(tmp_path / "models", keys(reads={"modality": modality}), convnet()))
    found = pictures_for(model, LocalFiles([tmp_path / "damaged"]))
    assert found.pictures
    with pytest.raises(PixelDataError, match=dataset.SOPInstanceUID):
        [picture() for picture in found.pictures]


# -- what is refused ---------------------------------------------------------------------------------------------------


def half_precision() -> onnx.ModelProto:
    kernel = helper.make_tensor(
        "w", TensorProto.FLOAT16, [3, 3, 1, 1], np.ones(9, np.float16).view(np.uint16), raw=False
    )
    return graph([helper.make_node("Conv", ["x", "w"], ["y"])], element=TensorProto.FLOAT16, initializers=[kernel])


def quantised_already() -> onnx.ModelProto:
    scale = helper.make_tensor("s", TensorProto.FLOAT, [], [1 / 255])
    zero = helper.make_tensor("z", TensorProto.UINT8, [], [0])
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    return graph(nodes, initializers=[scale, zero])


@pytest.mark.parametrize(
    ("proto", "changes", "kind", "reason"),
    [
        (convnet(), {"quantization": ...}, ManifestError, r"quantization\.tolerance is missing"),
        (identity(), {}, NotQuantizable, "none of the operators Conv"),
        (half_precision(), {}, NotQuantizable, "not float32"),
        (quantised_already(), {}, NotQuantizable, "quantised already"),
        (convnet(), {"input__spacing_um": 0.1}, NotQuantizable, "0 were found; 2 left out: .*too coarse"),
        (convnet(), {"reads": {"modality": "OPV"}, "input__fit": "stretch", **dict.fromkeys(
            ("input__spacing_um", "input__overlap"), ...)}, NotQuantizable, "0 were found"),
        (convnet(), {"version": "1" * 62}, NotQuantizable, "no room"),
        (convnet(), {"head__classes": classes("a", "b")}, ManifestError, "head.classes"),
    ],
)  # fmt: skip
def test_what_cannot_be_quantised_is_refused_with_the_reason(
    proto: onnx.ModelProto, changes: dict[str, Any], kind: type[Exception], reason: str, images: Path, tmp_path: Path
) -> None:
    folder = write(tmp_path, keys(**TILE | changes), proto)
    before = sorted(p.name for p in folder.iterdir())
    with pytest.raises(kind, match=reason):
        make(folder, LocalFiles([images / "slides"]), SMALL)
    assert sorted(p.name for p in folder.iterdir()) == before


def test_too_few_images_are_refused(images: Path, tmp_path: Path) -> None:
    content = keys(quantization={"tolerance": 0.5}, input__size=[64, 64])
    folder = write(tmp_path, content, convnet())
    some = sorted((images / "photographs").iterdir())
    with pytest.raises(NotQuantizable, match="15 were found"):
        make(folder, LocalFiles(some[:15]), SMALL)
    assert make(folder, LocalFiles(some), Plan(calibrate=40, check=20)).checked == 8


def test_below_the_tolerance_an_earlier_variant_stays(models: Path, images: Path) -> None:
    folder = models / "stub"
    kept = {p.name: p.read_bytes() for p in folder.iterdir()}
    text = (folder / "manifest.yaml").read_text()
    (folder / "manifest.yaml").write_text(text.replace("tolerance: 0.7", "tolerance: 1.0"))
    outcome = make(folder, LocalFiles([images / "slides"]), SMALL)
    assert not outcome.written
    assert outcome.agreement < outcome.tolerance == 1.0
    (folder / "manifest.yaml").write_text(text)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == kept


def test_a_folder_that_cannot_be_written_keeps_what_it_has(
    models: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = models / "stub"
    kept = {p.name: p.read_bytes() for p in folder.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("airouter.inference.variant.os.fsync", full)
    with pytest.raises(NotQuantizable, match="cannot be written: No space left"):
        make(folder, LocalFiles([images / "slides"]), Plan(calibrate=12, check=16, seed=9))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == kept


# -- what is loaded ----------------------------------------------------------------------------------------------------


def model_of(models: Path, *quantized: str) -> Model:
    return ModelRepository(models, quantized=quantized).get("stub").model


def test_the_model_is_known_by_the_weights_that_run(models: Path) -> None:
    plain, reduced = model_of(models), model_of(models, "stub")
    assert (plain.version, reduced.version) == ("1.0.0", "1.0.0+int8")
    assert plain.sha256 == hashlib.sha256((models / "stub" / "model.onnx").read_bytes()).hexdigest()
    assert reduced.sha256 == hashlib.sha256((models / "stub" / variant.WEIGHTS).read_bytes()).hexdigest()
    assert (plain.input, plain.head, plain.name) == (reduced.input, reduced.head, reduced.name)
    (status,) = ModelRepository(models, quantized=["stub"]).status()
    assert (status.version, status.sha256, status.usable) == (reduced.version, reduced.sha256, True)


def test_build_metadata_of_a_version_is_kept(tmp_path: Path) -> None:
    model = manifest.load(write(tmp_path, keys(version="2.0+site")))
    assert variant.of(model, "0" * 64).version == "2.0+site.int8"


def test_both_answer_alike_and_not_the_same(models: Path) -> None:
    picture = np.random.default_rng(5).integers(0, 256, (64, 64, 3), np.uint8)
    plain, reduced = (ModelRepository(models, quantized=names).get("stub") for names in ([], ["stub"]))
    first, second = plain.predict([picture] * 5), reduced.predict([picture] * 5)
    assert first.shape == second.shape
    assert 0 < np.abs(first - second).max() < 0.1


def drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def append(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes() + b"\0")

    return change


def said(old: str, new: str) -> Callable[[Path], None]:
    """Change the manifest's text."""

    def change(folder: Path) -> None:
        text = (folder / "manifest.yaml").read_text()
        assert old in text
        (folder / "manifest.yaml").write_text(text.replace(old, new))

    return change


def recorded(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: record(folder, **changes)


def retrained(folder: Path) -> None:
    """Other float32 weights under a manifest that knows them."""
    data = convnet(seed=3).SerializeToString()
    (folder / "model.onnx").write_bytes(data)
    content = yaml.safe_load((folder / "manifest.yaml").read_text())
    content["weights"]["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "manifest.yaml").write_text(yaml.safe_dump(content))


def another_machine(folder: Path) -> None:
    """The record of a processor that computes something else."""
    path = folder / variant.SELFTEST
    with np.load(path) as arrays:
        given, output, reference = (arrays[name] for name in ("input", "output", "reference"))
    apart = float(np.sqrt(np.mean((output - reference) ** 2)))
    np.savez(path, input=given, output=output, reference=reference)
    shifted = reference + (output - reference) + np.float32(2 * apart + 3 * selftest.ABSOLUTE)
    np.savez(path, input=given, output=shifted, reference=shifted + apart)
    record(folder, selftest_sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (drop(variant.FILE), r"int8\.yaml: is missing"),
        (drop(variant.WEIGHTS), r"model\.int8\.onnx: cannot be read"),
        (drop(variant.SELFTEST), r"selftest\.int8\.npz: cannot be read"),
        (append(variant.WEIGHTS), "sha256 is .* int8.yaml says"),
        (append(variant.SELFTEST), "not the one that was recorded"),
        (append(variant.FILE), "not YAML"),
        (recorded(more=1), "more: Extra inputs"),
        (recorded(agreement="0.99"), "agreement: Input should be"),
        (recorded(agreement=1.5), "agreement: Input should be"),
        (recorded(agreement=0.5), r"agreement 0\.5000 is below the manifest's tolerance 0\.7"),
        (recorded(metric="cosine similarity"), "another input or head"),
        (recorded(made_from="0" * 64), "was made from weights 0000000000000000"),
        (recorded(schema=2), "schema: Input should be 1"),
        (retrained, "was made from weights"),
        (said("tolerance: 0.7", "tolerance: 1.0"), "below the manifest's tolerance 1"),
        (said("quantization:\n  tolerance: 0.7\n", ""), r"quantization\.tolerance is missing"),
        (said("overlap: 8", "overlap: 4"), "another input or head"),
        (said("- name: red", "- name: red\n    threshold: 0.4"), "another input or head"),
        (another_machine, "self-test of the 8-bit weights differs"),
    ],
)
def test_a_variant_that_no_longer_holds_is_refused_and_never_replaced(
    models: Path, change: Callable[[Path], None], reason: str
) -> None:
    change(models / "stub")
    repository = ModelRepository(models, quantized=["stub"])
    with pytest.raises((ModelRefused, ManifestError), match=reason):
        repository.get("stub")


def test_other_changes_of_the_manifest_leave_it_valid(models: Path) -> None:
    said("description: Gives back what it gets.", "description: Another text.")(models / "stub")
    said("- name: red", "- name: red\n    threshold: 0.5\n    code: {value: x, scheme: 99T, meaning: Red}")(
        models / "stub"
    )
    said("tolerance: 0.7", "tolerance: 0.5")(models / "stub")
    assert why_not(models) is None


def test_the_float_weights_are_not_needed_beside_a_variant(models: Path) -> None:
    (models / "stub" / "model.onnx").unlink()
    assert why_not(models) is None


# -- the command and the setting --------------------------------------------------------------------------------------


def test_the_command_makes_and_the_setting_takes_it_into_use(images: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "models", keys(**TILE), convnet())
    asked = ["quantize", str(folder), str(images), "--calibrate", "12", "--check", "16"]
    result = runner.invoke(app, asked)
    assert result.exit_code == 0, result.output
    assert "(dice), the manifest's tolerance is 0.7" in result.output
    assert "12 to calibrate, 16 others to check" in result.output
    assert "images/s before" in result.output
    configuration = tmp_path / "orthanc.json"
    configuration.write_text(json.dumps({"AIRouter": {"QuantizedModels": ["stub"]}}))
    listed = runner.invoke(app, ["models", str(configuration)])
    assert listed.exit_code == 0, listed.output
    assert "stub 1.0.0+int8" in listed.output
    assert hashlib.sha256((folder / variant.WEIGHTS).read_bytes()).hexdigest()[:16] in listed.output
    (folder / variant.FILE).unlink()
    listed = runner.invoke(app, ["models", str(configuration)])
    assert listed.exit_code == 1
    assert "airouter quantize" in listed.output


def test_the_command_refuses_below_the_tolerance(images: Path, tmp_path: Path) -> None:
    folder = write(tmp_path, keys(**TILE | {"quantization": {"tolerance": 1.0}}), convnet())
    result = runner.invoke(app, ["quantize", str(folder), str(images / "slides"), "--calibrate", "12", "--check", "16"])
    assert result.exit_code == 1
    assert "tolerance is 1" in result.output
    assert "nothing was written" in result.output
    assert not (folder / variant.FILE).exists()


def test_the_command_knows_its_methods(images: Path, tmp_path: Path) -> None:
    folder = write(tmp_path, keys(**TILE), convnet())
    result = runner.invoke(app, ["quantize", str(folder), str(images), "--method", "magic"])
    assert result.exit_code == 2
    assert "minmax, percentile, entropy" in " ".join(result.output.split())


def test_an_unknown_model_in_the_setting_is_a_problem() -> None:
    document = {"AIRouter": {"QuantizedModels": ["known", "gone"]}}
    assert config.problems(document) == []
    (found,) = problems(document, {"known": None})
    assert found.path == "AIRouter.QuantizedModels[1]"
    assert "known" in found.reason


def test_progress_ends_at_the_whole(images: Path, tmp_path: Path) -> None:
    folder = write(tmp_path, keys(**TILE), convnet())
    seen: list[tuple[str, int, int]] = []

    def track(items: Any, total: int, label: str) -> Iterator[Any]:
        for n, item in enumerate(items, start=1):
            yield item
            seen.append((label, n, total))

    make(folder, LocalFiles([images / "slides"]), SMALL, track)
    assert [s for s in seen if s[1] == s[2]] == [("calibrate", 12, 12), ("check", 16, 16)]
