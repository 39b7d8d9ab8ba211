"""The parts of the benchmark: what is measured with must itself be right. Speed is never tested."""

import importlib.util
import io
import json
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pydicom
import pytest
from rich.console import Console

from airouter.domain.model import Fit
from airouter.inference import preprocess
from airouter.inference.repository import ModelRepository
from airouter.inference.session import Session
from airouter.pipelines import PIPELINES, problem
from benchmark import archive, engine, models, process, report, slides
from benchmark.figure import Figure, Options
from tests.dciodvfy import assert_conformant

ROOT = Path(__file__).resolve().parents[2]
SMALL: models.Kind = "mobilenet_v2_035"


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> slides.Slide:
    return slides.slide(slides.Spec(2048), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("models")
    models.folder(SMALL, where, workers=2)
    return where


def parameters(proto: onnx.ModelProto) -> int:
    """Numbers that training would change."""
    counted = [w for w in proto.graph.initializer if "running" not in w.name and not w.name.startswith("clip.")]
    return sum(int(np.prod(w.dims)) for w in counted)


# --- models ---


@pytest.mark.parametrize(("kind", "count"), [("resnet18", 11_689_512), ("mobilenet_v2", 3_504_872)])
def test_the_architectures_have_their_published_number_of_parameters(kind: models.Kind, count: int) -> None:
    assert parameters(models.graph(kind, classes=1000)) == count


def test_weights_are_called_as_in_torchvision() -> None:
    names = {w.name for w in models.resnet18().graph.initializer}
    assert {"conv1.weight", "bn1.running_var", "layer2.0.downsample.1.bias", "layer4.1.bn2.weight", "fc.bias"} <= names
    names = {w.name for w in models.mobilenet_v2().graph.initializer}
    assert {"features.1.conv.1.weight", "features.17.conv.3.running_mean", "features.18.0.weight"} <= names
    assert "classifier.1.weight" in names


def test_a_model_folder_loads_and_can_do_the_pipeline(model_folders: Path) -> None:
    repository = ModelRepository(model_folders)
    (status,) = repository.status()
    assert status.usable, status.reason
    model = repository.get(models.name_of(SMALL)).model
    assert model.input.fit is Fit.TILE
    assert problem(PIPELINES[archive.PIPELINE], model) is None
    assert model.parameters["workers"] == 2


def test_its_answers_differ_from_patch_to_patch_and_both_classes_occur(model_folders: Path) -> None:
    predictor = ModelRepository(model_folders).get(models.name_of(SMALL))
    answers = predictor.predict(slides.tissue_tiles()[:40])
    assert answers.std(axis=0).min() > 0.1
    assert set(answers.argmax(axis=1)) == {0, 1}


def test_the_same_model_is_made_each_time(model_folders: Path, tmp_path: Path) -> None:
    again = models.folder(SMALL, tmp_path, workers=2)
    assert (again / "model.onnx").read_bytes() == (model_folders / again.name / "model.onnx").read_bytes()


# --- slides ---


def test_the_router_finds_the_tissue_that_was_laid_out(slide: slides.Slide, tmp_path: Path) -> None:
    with slides.opened(slide.write(tmp_path)) as read:
        assert [level.rows for level in read.levels] == [2048, 512]
        assert read.base.spacing_um == slides.SPACING_UM
        mask = read.tissue()
        found = [mask.fraction(r * 256, c * 256, 256, 256) > 0.5 for r, c in np.ndindex(slide.tissue.shape)]
    assert slide.tissue.mean() == pytest.approx(0.4, abs=0.02)
    assert mask.mask.mean() == pytest.approx(slide.tissue.mean(), abs=0.05)
    assert (np.array(found) == slide.tissue.ravel()).mean() > 0.95


def test_lower_levels_show_what_the_base_level_shows(slide: slides.Slide, tmp_path: Path) -> None:
    with slides.opened(slide.write(tmp_path)) as read:
        base = read.region(read.base, 0, 0, 2048, 2048).astype(np.float32)
        small = read.region(read.levels[1], 0, 0, 512, 512).astype(np.float32)
    averaged = base.reshape(512, 4, 512, 4, 3).mean(axis=(1, 3))
    assert np.abs(averaged - small).mean() < 4.0


def test_slides_conform_and_copies_differ_in_their_uids(slide: slides.Slide, tmp_path: Path) -> None:
    copies = [[pydicom.dcmread(f) for f in slide.write(tmp_path / str(n), n)] for n in range(2)]
    for ds in copies[0]:
        assert_conformant(ds)
    assert [ds.StudyInstanceUID for ds in copies[1]] == [slide.study_uid(1)] * 2
    uids = {uid for ds in copies[0] + copies[1] for uid in (ds.SOPInstanceUID, ds.SeriesInstanceUID)}
    assert len(uids) == 6
    assert copies[0][0].PixelData == copies[1][0].PixelData


def test_a_slide_of_one_level(tmp_path: Path) -> None:
    single = slides.slide(slides.Spec(1024, pyramid=False), tmp_path / "cache")
    with slides.opened(single.write(tmp_path / "files")) as read:
        assert [level.rows for level in read.levels] == [1024]
        assert read.tissue()


def test_a_slide_is_made_once(slide: slides.Slide) -> None:
    written = [path.stat().st_mtime_ns for path in sorted(slide.folder.iterdir())]
    again = slides.slide(slide.spec, slide.folder.parents[1])
    assert again.folder == slide.folder
    assert [path.stat().st_mtime_ns for path in sorted(slide.folder.iterdir())] == written


@pytest.mark.parametrize("side", [0, 512, 3000])
def test_impossible_sides_are_refused(side: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        slides.Spec(side)


# --- the limit ---


def test_the_limit_predicts_what_the_session_predicts(slide: slides.Slide, model_folders: Path, tmp_path: Path) -> None:
    """Against tiles that never were files: the limit's patches are those of the slide, in their places."""
    name = models.name_of(SMALL)
    answers = engine.prepare(model_folders, name, slide.write(tmp_path), "CPU")
    assert {cell for cell in answers if slide.tissue[cell]} == set(zip(*np.nonzero(slide.tissue), strict=True))
    session = ModelRepository(model_folders).get(name)
    assert isinstance(session, Session)
    with slides.opened(slide.write(tmp_path)) as read:
        cell = next(c for c in answers if slide.tissue[c])
        pixels = read.region(read.base, cell[0] * 256, cell[1] * 256, 256, 256)
    tensor = np.empty(preprocess.tensor_shape(session.model.input, 1, 256, 256), np.float32)
    preprocess.fill(tensor, [pixels], session.model.input)
    logits = session.run(tensor)[0].astype(np.float64)
    assert answers[cell] == pytest.approx(1.0 / (1.0 + np.exp(logits[1] - logits[0])), abs=1e-3)
    assert engine.limit(len(answers), 2) > 0


def test_answers_in_other_places_are_a_difference() -> None:
    found = np.array([[0.25, -1.0], [0.5, 0.75]], np.float32)
    assert engine.difference({(0, 0): 0.25, (1, 0): 0.5, (1, 1): 0.625}, found) == pytest.approx(0.125)
    assert engine.difference({(0, 0): 0.25, (1, 0): 0.5}, found) == float("inf")


# --- processes ---


def test_memory_of_a_child_is_its_own_and_it_tells_why_it_failed() -> None:
    with process.Child() as child:
        assert child.pid != os.getpid()
        small, large, again = (child.call(eval, f"len(b'x' * {size}_000_000)") for size in (8, 160, 8))
        with pytest.raises(RuntimeError, match="on purpose"):
            child.call(int, "on purpose")
    assert small.value == 8_000_000
    assert large.peak_mb - large.idle_mb == pytest.approx(160, abs=16)
    assert again.peak_mb - again.idle_mb < 60  # the mark was put back


# --- the table ---


@pytest.mark.parametrize(
    ("figure", "reached", "said"),
    [
        (Figure("g", "f", 0.95, "1", "least", 0.95), True, "reached"),
        (Figure("g", "f", 0.94, "1", "least", 0.95), False, "missed"),
        (Figure("g", "f", 1.10, "1", "most", 1.10), True, "reached"),
        (Figure("g", "f", 1.11, "1", "most", 1.10), False, "missed"),
        (Figure("g", "f", 3.0, "MB"), None, "reported"),
        (Figure("g", "f", None, "1", "most", 1.1, detail="it rains"), None, "not measured because it rains"),
    ],
)
def test_a_figure_says_whether_it_was_reached(figure: Figure, reached: bool | None, said: str) -> None:
    assert figure.reached is reached
    assert report.verdict(figure) == said


def test_the_json_of_a_run_gives_the_same_table(tmp_path: Path) -> None:
    figures = [
        Figure("engine", "ratio [a]", 0.9712, "1", "least", 0.95, (0.96, 0.9712, 0.98)),
        Figure("engine", "rate", 163.2, "{patches}/s", samples=(163.2,)),
        report.missing("peers", "it was not asked for"),
    ]
    out = tmp_path / "made" / "run.json"
    report.write(figures, Options(tmp_path, repeats=3), {"engine": 1.5}, out)
    run = json.loads(out.read_text())
    assert run["figures"][0]["samples"] == [0.96, 0.9712, 0.98]
    assert run["machine"]["cores"] >= 1
    rows = report.markdown(run).splitlines()
    assert "| ratio [a] | 0.971 | ≥ 0.95 | reached | 0.96 to 0.98, 3 rounds |" in rows
    assert "| rate | 163 patches/s |  | reported |  |" in rows
    assert "| all | – |  | not measured because it was not asked for |  |" in rows
    shown = io.StringIO()
    report.show(figures, Console(width=140, file=shown))
    assert "ratio [a]" in shown.getvalue()
    assert "reached" in shown.getvalue()


# --- the command ---


@pytest.fixture(scope="module")
def command() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_command", ROOT / "scripts" / "bench.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_group_that_fails_is_a_line_of_the_table(
    command: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Options) -> list[Figure]:
        raise RuntimeError("no such device")

    monkeypatch.setattr(engine, "measure", broken)
    out = tmp_path / "run.json"
    assert command.main(["slide", "--only", "engine", "peers", "--out", str(out)]) == 0
    lines = [(f["group"], f["value"], f["detail"]) for f in json.loads(out.read_text())["figures"]]
    assert lines == [("engine", None, "no such device"), ("peers", None, "it was not asked for (--peers)")]
    assert os.access(ROOT / "scripts" / "bench", os.X_OK)
