"""The demonstration: a real Orthanc, real C-STORE, generated patients, real models, and a table of what came back."""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
from pydicom import Dataset
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from phantoms.dicom import fundus_instance, oct_instance, slide_instances
from phantoms.fundus import fundus
from phantoms.modality import send
from phantoms.oct import volume
from phantoms.slide import slide

ROOT = Path(__file__).resolve().parent.parent
ENDED = ("COMPLETED", "CANCELED")
console = Console()


def main() -> int:
    """Exit code 0 when every result is in the archive, 1 otherwise."""
    arguments = _arguments()
    with contextlib.ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="airouter-demo-")))
        demo = stack.enter_context(_orthanc(folder))
        studies = _send(demo)
        jobs = _watch(demo, studies, arguments.timeout)
        complete = _report(demo, studies, jobs)
        if arguments.once:
            return 0 if complete else 1
        console.print("\nServing until Ctrl-C.")
        with contextlib.suppress(KeyboardInterrupt):
            demo.process.wait()
    return 0 if complete else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="leave when every result is in the archive")
    parser.add_argument("--folder", type=Path, help="keep Orthanc's files here instead of a temporary folder")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds to wait for the results")
    return parser.parse_args()


class Demo:
    """One running Orthanc and a client that knows its credentials."""

    def __init__(self, process: subprocess.Popen[bytes], http: int, dicom: int, users: Mapping[str, str]) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{http}"
        self.dicom_port = dicom
        user, password = next(iter(users.items()))
        self.client = httpx.Client(base_url=self.url, auth=(user, password), timeout=60, trust_env=False)

    def get(self, path: str, **params: Any) -> Any:
        answer = self.client.get(path, params=params)
        answer.raise_for_status()
        return answer.json()


@contextlib.contextmanager
def _orthanc(folder: Path) -> Iterator[Demo]:
    settings = folder / "configuration"
    settings.mkdir(parents=True, exist_ok=True)
    http, dicom = _free_port(), _free_port()
    document = json.loads((ROOT / "orthanc.json").read_text())
    # What the drop-in takes from the folder it stands in, the demonstration takes from its own.
    script = str(ROOT / "plugin" / "main.py")
    document |= {
        "HttpPort": http,
        "DicomPort": dicom,
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "PythonScript": script,
        "Python": document["Python"] | {"Path": script},
    }
    document["AIRouter"] |= {
        "ModelsDirectory": str(ROOT / "models"),
        "StateDirectory": str(folder / "state"),
        "Workers": 1,
        "QuietTimeSeconds": 2,
    }
    (settings / "orthanc.json").write_text(json.dumps(document, indent=2))
    command = [str(ROOT / ".venv" / "bin" / "airouter"), "orthanc", str(settings)]
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        users = _wait_for(lambda: _users(settings), "credentials", process, folder)
        demo = Demo(process, http, dicom, users)
        with console.status("Starting Orthanc and loading the models"):
            _wait_for(lambda: _running(demo), "the router", process, folder)
        console.print(f"Orthanc with the router at {demo.url}; user and password in {settings / 'credentials.json'}")
        yield demo
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _users(settings: Path) -> dict[str, str] | None:
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        users: dict[str, str] = json.loads((settings / "credentials.json").read_text())["RegisteredUsers"]
        return users
    return None


def _running(demo: Demo) -> bool:
    with contextlib.suppress(httpx.TransportError):
        answer = demo.client.get("/ai/health")
        state = answer.json()["state"] if answer.status_code == 200 else ""
        if state == "refused":
            raise SystemExit(f"the router refused to start: {answer.json()['reason']}")
        return bool(state == "running")
    return False


def _wait_for(condition: Any, what: str, process: subprocess.Popen[bytes], folder: Path, seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"Orthanc ended while starting:\n{_tail(folder)}")
        if value := condition():
            return value
        time.sleep(0.1)
    raise SystemExit(f"{what} did not come up within {seconds:g} s:\n{_tail(folder)}")


def _tail(folder: Path) -> str:
    return "\n".join((folder / "orthanc.log").read_text(errors="replace").splitlines()[-30:])


def _patients() -> dict[str, list[Dataset]]:
    """What a laboratory and an eye clinic might send in a minute; all of it is generated."""
    tissue = slide(3072, 3072, 0.5, stain="H-DAB", positive_fraction=0.3, seed=7)
    photograph = fundus(1024, "R", seed=7)
    macula = volume(25, 496, 512, 3.9, 11.7, 240.0, "R", seed=7, fluid=True)
    return {
        "slide": slide_instances(tissue.rgb, tissue.spacing_um, stain="H-DAB", patient_id="DEMO-SLIDE"),
        "fundus photograph": [fundus_instance(photograph.rgb, laterality="R", patient_id="DEMO-EYE")],
        "OCT volume": [
            oct_instance(
                macula.frames, axial_um=3.9, lateral_um=11.7, slice_um=240.0, laterality="R", patient_id="DEMO-EYE"
            )
        ],
    }


def _send(demo: Demo) -> dict[str, str]:
    """Study Instance UID -> what was sent."""
    studies: dict[str, str] = {}
    with console.status("Making a slide, a fundus photograph and an OCT volume"):
        patients = _patients()
    for what, instances in patients.items():
        statuses = send(instances, demo.dicom_port, called="ORTHANC")
        if any(statuses):
            raise SystemExit(f"Orthanc refused the {what}: status {max(statuses):#06x}")
        studies[instances[0].StudyInstanceUID] = what
        console.print(f"sent by C-STORE: {what}, {len(instances)} instance{'s' if len(instances) > 1 else ''}")
    return studies


def _watch(demo: Demo, studies: Mapping[str, str], timeout: float) -> dict[str, list[dict[str, Any]]]:
    """Show progress until every study has a job and every job has ended."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    deadline = time.monotonic() + timeout
    with Progress(*columns, console=console) as bars:
        tasks = {uid: bars.add_task(what, total=None) for uid, what in studies.items()}
        while True:
            jobs = {uid: demo.get("/ai/jobs", study=uid)["jobs"] for uid in studies}
            for uid, found in jobs.items():
                progress = next((j["progress"] for j in found if j["progress"]), None)
                if progress:
                    bars.update(
                        tasks[uid],
                        total=progress["total"],
                        completed=progress["done"],
                        description=f"{studies[uid]}, {progress['unit']}",
                    )
            if all(found and all(j["state"] in ENDED for j in found) for found in jobs.values()):
                return jobs
            if time.monotonic() > deadline:
                raise SystemExit(f"not every job ended within {timeout:g} s")
            time.sleep(0.25)


def _report(demo: Demo, studies: Mapping[str, str], jobs: Mapping[str, list[dict[str, Any]]]) -> bool:
    """Print the table; True when every job completed and everything it wrote can be retrieved by DICOMweb."""
    table = Table(title="What came back (not for diagnosis)", show_lines=True)
    for heading, share in (("arrived", 2), ("model, and why", 3), ("findings", 7), ("priority", 3)):
        table.add_column(heading, overflow="fold", ratio=share)
    table.expand = True
    complete = True
    places: list[str] = []
    worklist = {e["study"]: e for e in demo.get("/ai/worklist")["studies"]}
    for uid, what in studies.items():
        found = demo.get(f"/ai/studies/{uid}/findings")
        decisions = [d for d in demo.get("/ai/decisions", study=uid)["decisions"] if d["outcome"] == "selected"]
        complete = complete and bool(found["results"]) and all(j["state"] == "COMPLETED" for j in jobs[uid])
        written = [e for result in found["results"] for e in result["evidence"]]
        for evidence in written:
            retrieved = demo.client.get(f"/dicom-web/studies/{uid}/series/{evidence['series_instance_uid']}/metadata")
            complete = complete and retrieved.status_code == 200
        entry = worklist.get(uid)
        table.add_row(
            what,
            "\n".join(
                [f"{j['model']['name']} {j['model']['version']} on {_provider(j)}" for j in jobs[uid]]
                + [f"route {d['route']}: {d['reason']}" for d in decisions]
            ),
            "\n".join(_lines(found)) or "nothing",
            f"{entry['verdict']['priority']}: {entry['verdict']['reason']}" if entry else "none",
        )
        places.append(f"{what}: {', '.join(e['role'] for e in written)}")
        places.append(f"  {demo.url}/ai/studies/{uid}/findings")
        places.append(f"  {demo.url}/dicom-web/studies/{uid}/series")
    console.print(table)
    console.print("stored as DICOM in the same studies, and retrieved by DICOMweb:", *places, sep="\n", soft_wrap=True)
    console.print(f"worklist: {demo.url}/ai/worklist", soft_wrap=True)
    return complete


def _provider(job: Mapping[str, Any]) -> str:
    return str(job["execution_provider"] or "nothing").removesuffix("ExecutionProvider")


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    for result in found["results"]:
        for finding in result["findings"]:
            eye = f" {finding['laterality']}" if finding["laterality"] else ""
            yield f"[bold]{finding['label']}{eye}[/bold]"
            for m in finding["measurements"]:
                unit = "" if m["unit"] == "1" else f" {m['unit'].strip('{}')}"
                yield f"  {m['name']['meaning']}: {m['value']:.4g}{unit}"
            for e in finding["evaluations"]:
                yield f"  {e['name']['meaning']}: {e['value']['meaning']}"
        for missing in result["not_analysed"]:
            yield f"  {missing['quantity']}: {missing['reason']}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main())
