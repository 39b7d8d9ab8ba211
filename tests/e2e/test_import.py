"""Slides in scanners' own formats into a real Orthanc: by the command and by the watched folder."""

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from airouter.adapters.converter import interpreter
from airouter.adapters.rest import connect
from airouter.adapters.sidecar import Description
from airouter.adapters.slide_file import digest
from airouter.adapters.slide_store import SlideStore
from airouter.cli import app
from airouter.errors import ImportConflict
from tests.data import data
from tests.orthanc_process import PASSWORD, USER
from tests.router_process import RouterProcess, measurement
from tests.slide_files import PATIENT, SPACING_UM, description, picture, sidecar, tiled_tiff

pytestmark = pytest.mark.orthanc


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouterProcess]:
    """An Orthanc that watches a folder."""
    folder = tmp_path_factory.mktemp("import")
    settings = {"ImportDirectory": str(folder / "drop"), "ImportSettlingSeconds": 0.5}
    with RouterProcess(folder, settings) as process:
        process.wait_state()
        process.until((folder / "drop" / "failed").exists, "the folder")
        yield process


def command(*arguments: str | Path, router: RouterProcess | None = None) -> Result:
    """`airouter import` in this process: to load its packages anew would take seconds each time."""
    where = ["--url", router.url, "--user", USER] if router is not None else []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        return CliRunner(env={"AIROUTER_PASSWORD": PASSWORD}).invoke(app, ["import", *map(str, arguments), *where])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def count(router: RouterProcess) -> int:
    """Images of slides; results come at their own time."""
    return len(router.rest.post("/tools/find", json={"Level": "Instance", "Query": {"Modality": "SM"}}).json())


def described(**changes: Any) -> Description:
    return Description.model_validate_json(json.dumps(description(**changes)))


def slides(router: RouterProcess) -> dict[str, dict[str, Any]]:
    return {slide["name"]: slide for slide in router.ai("imports")["slides"]}


def wait_slide(router: RouterProcess, name: str, state: str) -> dict[str, Any]:
    def there() -> dict[str, Any] | None:
        slide = slides(router).get(name)
        return slide if slide and slide["state"] == state else None

    return router.until(there, f"{name} {state}")


def small(path: Path, seed: int = 1) -> Path:
    return tiled_tiff(path, picture(512, 512, seed=seed))


def dropped(router: RouterProcess, name: str, seed: int, **changes: Any) -> Path:
    path = small(router.folder / "drop" / name, seed)
    sidecar(path, **changes)
    return path


def wait_analysed(router: RouterProcess, study_uid: str) -> dict[str, Any]:
    (job,) = router.wait_jobs(study_uid)
    assert job["state"] == "COMPLETED", job["reason"]
    (result,) = router.results(study_uid)
    return result


def study_of(router: RouterProcess, patient: str) -> dict[str, Any]:
    query = {"Level": "Study", "Query": {"PatientID": patient}, "Expand": True}
    (study,) = router.rest.post("/tools/find", json=query).json()
    found: dict[str, Any] = study
    return found


def test_an_imported_slide_is_analysed_like_any_other(router: RouterProcess, tmp_path: Path) -> None:
    file = small(tmp_path / "a.tiff")
    sidecar(file)
    # As a process of its own, as it is used; Orthanc's configuration says where to, and who.
    arguments = [str(file), "--config", str(router.folder / "orthanc.json"), "--json"]
    program = [str(interpreter()), "-m", "airouter.cli", "import", *arguments]
    done = subprocess.run(program, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["instances"] == summary["new"] == 2
    assert summary["stain"] == "H-DAB"
    assert summary["spacing_um"] == pytest.approx(SPACING_UM)
    result = wait_analysed(router, summary["study_uid"])
    assert measurement(result, "Number of nuclei") > 20
    assert not any("stain" in n["reason"] for n in result["not_analysed"])
    study = study_of(router, "IMPORT-1")
    assert study["MainDicomTags"]["StudyInstanceUID"] == summary["study_uid"]
    assert study["PatientMainDicomTags"]["PatientName"] == PATIENT
    assert study["MainDicomTags"]["AccessionNumber"] == "A26-17"

    stored = count(router)
    again = command(file, router=router)
    assert again.exit_code == 0, again.stderr
    assert "2 instances, 0 of them new" in again.stdout
    assert summary["study_uid"] in again.stdout
    refused = command(file, "--patient-id", "SOMEBODY-ELSE", router=router)
    assert refused.exit_code == 1
    assert "stored already" in refused.stderr
    assert "PatientID" in refused.stderr
    assert count(router) == stored

    store = SlideStore(connect(router.url, username=USER, password=PASSWORD))
    content = digest(file)
    store.check(content, described())
    for changes, named in (
        ({"patient": {"name": "Another^One"}}, "PatientName"),
        ({"patient": {"birth_date": None}}, "PatientBirthDate"),
        ({"study": {"accession_number": "A26-18"}}, "StudyInstanceUID"),
        ({"specimen": {"container": "B"}}, "ContainerIdentifier"),
        ({"specimen": {"stain": "H&E"}}, "stain"),
        ({"spacing_um": 0.25}, "PixelSpacing"),
    ):
        with pytest.raises(ImportConflict, match=named):
            store.check(content, described(**changes))
    store.check(content, described(spacing_um=SPACING_UM))
    with pytest.raises(ImportConflict, match="for another patient"):
        store.check("another file", described(patient={"id": "X"}, study={"instance_uid": summary["study_uid"]}))
    store.close()


def test_without_patient_and_container_nothing_is_stored(router: RouterProcess, tmp_path: Path) -> None:
    stored = count(router)
    file = tiled_tiff(tmp_path / "P26-1 Doe Jane.tiff", picture(256, 256), levels=1)
    done = command(file, "--birth-date", "17.5.1960", router=router)
    assert done.exit_code == 1
    for told in ("patient.id is missing", "specimen.container is missing", "patient.birth_date"):
        assert told in done.stderr
    assert count(router) == stored


def test_an_orthanc_that_is_away_or_refuses_the_user_is_told_at_once(router: RouterProcess, tmp_path: Path) -> None:
    file = tiled_tiff(tmp_path / "a.tiff", picture(256, 256), levels=1)
    known = ["--patient-id", "P", "--container", "C"]
    away = command(file, *known, "--url", "http://127.0.0.1:9")
    assert away.exit_code == 1
    assert "does not answer" in away.stderr
    stranger = command(file, *known, "--url", router.url, "--user", "nobody")
    assert stranger.exit_code == 1
    assert "does not let this user in" in stranger.stderr


def test_a_dropped_slide_is_imported_and_analysed_and_a_bad_one_told(router: RouterProcess) -> None:
    drop = router.folder / "drop"
    waiting = dropped(router, "waiting.tiff", 12, patient={"id": "DROP"}, specimen={"container": "D-1"})
    waiting.with_name("waiting.tiff.json").rename(router.folder / "later.json")
    broken = drop / "broken.svs"
    broken.write_bytes(b"no slide")
    sidecar(broken)
    failed = wait_slide(router, "broken.svs", "failed")
    assert "no format that OpenSlide reads" in failed["reason"]
    note = drop / "failed" / "broken.svs" / "broken.svs.reason.txt"
    assert note.read_text().strip() == failed["reason"]
    router.until(lambda: "sidecar" in (slides(router)["waiting.tiff"]["reason"] or ""), "the reason of the wait")
    (router.folder / "later.json").rename(waiting.with_name("waiting.tiff.json"))
    wait_slide(router, "waiting.tiff", "imported")
    assert not waiting.exists()
    ended = drop / "imported" / "waiting.tiff"
    assert sorted(p.name for p in ended.iterdir()) == ["waiting.tiff", "waiting.tiff.json"]
    wait_analysed(router, study_of(router, "DROP")["MainDicomTags"]["StudyInstanceUID"])
    # The patient's name goes into the archive and nowhere else.
    assert PATIENT not in router.output()
    assert "broken.svs" not in router.output()
    assert not list((router.folder / "state" / "import").iterdir()), "temporary files"


def test_a_kill_and_a_stop_in_the_middle_of_an_import_lose_and_double_nothing(router: RouterProcess) -> None:
    """A real SVS at that. The last test: Orthanc is stopped when it ends."""
    file = data("slides/cmu-1-small-region.svs")
    drop, temporary = router.folder / "drop", router.folder / "state" / "import"

    def begins() -> None:
        router.until(lambda: list(temporary.glob("*")), "the conversion to begin")

    before = count(router)
    sidecar(drop / "k.svs", patient={"id": "KILLED"}, specimen={"container": "K-1", "stain": "H&E"})
    shutil.copyfile(file, drop / "k.svs")
    begins()
    router.kill()
    left = list(temporary.iterdir())
    router.start()
    router.wait_state()
    wait_slide(router, "k.svs", "imported")
    assert count(router) - before == 5
    assert not any(path.exists() for path in left), "what the kill left behind"
    result = wait_analysed(router, study_of(router, "KILLED")["MainDicomTags"]["StudyInstanceUID"])
    assert measurement(result, "Number of nuclei") > 1000

    dropped(router, "s.tiff", 22)
    begins()
    router.stop()
    assert not list(temporary.iterdir())
    assert sorted(path.name for path in (drop / "working" / "s.tiff").iterdir()) == ["s.tiff", "s.tiff.json"]
