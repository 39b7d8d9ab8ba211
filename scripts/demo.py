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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pydicom import Dataset
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from airouter.adapters.configuration import USER
from airouter.domain.role import Role
from phantoms.eye_case import earlier_visits, visit
from phantoms.modality import send
from phantoms.pathology_case import earlier_case, pathology_case

ROOT = Path(__file__).resolve().parent.parent
ENDED = ("COMPLETED", "CANCELED")
# The generated tumour has half a square millimetre, and its benign nuclei are 7 um across.
_SMALL = {"hotspot_mm2": 0.3, "normal_um2": 38.0}
GENERATED = {"mitotic-count": {"hotspot_mm2": 0.3}, "nottingham": _SMALL, "slide-triage": _SMALL}
MOST_FINDINGS = 14  # of one result in the table: a photograph may have a hundred lesions
SPECIALTIES = ("pathology", "ophthalmology")
console = Console()


def main() -> int:
    """Exit code 0 when every result is in the archive, 1 otherwise."""
    arguments = _arguments()
    with contextlib.ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="airouter-demo-")))
        demo = stack.enter_context(_orthanc(folder))
        sent = _send(demo)
        jobs = _watch(demo, sent, arguments.timeout)
        complete = _report(demo, sent, jobs)
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
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds to wait for the results")
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


@dataclass(frozen=True)
class Sent:
    """What was sent: its name by Series Instance UID, and the studies in the order in which they came."""

    names: Mapping[str, str]
    studies: tuple[str, ...]

    def name(self, job: Mapping[str, Any]) -> str:
        return self.names[job["series"]]


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
    # All that there is, in place of the drop-in's few.
    pathology, eyes = (json.loads((ROOT / "scripts" / f"{of}-routes.json").read_text()) for of in SPECIALTIES)
    for route in pathology:
        route["Parameters"] = route.get("Parameters", {}) | GENERATED.get(route["Pipeline"], {})
    document["AIRouter"] |= {
        "Routes": [*pathology, *eyes],
        "ModelsDirectory": str(ROOT / "models"),
        "StateDirectory": str(folder / "state"),
        "Workers": 1,
        "QuietTimeSeconds": 2,
        # Whoever looks at the demonstration may do everything; in a hospital nobody holds all roles.
        "Users": {USER: {"Roles": [*Role], "Name": "Demonstration^Reader"}},
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
    return {"earlier case": earlier_case(), **pathology_case(), **earlier_visits(), **visit()}


def _send(demo: Demo) -> Sent:
    names: dict[str, str] = {}
    studies: list[str] = []
    with console.status("Making slides, photographs, tomographs and visual fields"):
        patients = _patients()
    for what, instances in patients.items():
        statuses = send(instances, demo.dicom_port, called="ORTHANC")
        if any(statuses):
            raise SystemExit(f"Orthanc refused the {what}: status {max(statuses):#06x}")
        names |= {instance.SeriesInstanceUID: what for instance in instances}
        studies.append(instances[0].StudyInstanceUID)
        console.print(f"sent by C-STORE: {what}, {len(instances)} instance{'s' if len(instances) > 1 else ''}")
    return Sent(names, tuple(dict.fromkeys(studies)))


def _watch(demo: Demo, sent: Sent, timeout: float) -> dict[str, dict[str, Any]]:
    """Show progress until the intake has nothing left and every job has ended; the jobs by their key."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    deadline = time.monotonic() + timeout
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console) as bars:
        while True:
            settled = demo.get("/ai/health")["intake_lag_seconds"] == 0
            found = {uid: demo.get("/ai/jobs", study=uid, limit=1000)["jobs"] for uid in sent.studies}
            for job in (job for jobs in found.values() for job in reversed(jobs)):
                if (progress := job["progress"]) is None:
                    continue
                if job["key"] not in tasks:
                    tasks[job["key"]] = bars.add_task(f"{sent.name(job)}: {job['pipeline']}", total=None)
                bars.update(tasks[job["key"]], total=progress["total"], completed=progress["done"])
                if job["state"] in ENDED:
                    bars.stop_task(tasks[job["key"]])
            jobs = {job["key"]: job for some in found.values() for job in some}
            if settled and all(found.values()) and all(job["state"] in ENDED for job in jobs.values()):
                return jobs
            if time.monotonic() > deadline:
                raise SystemExit(f"not every job ended within {timeout:g} s")
            time.sleep(0.25)


def _report(demo: Demo, sent: Sent, jobs: Mapping[str, dict[str, Any]]) -> bool:
    """Print the table; True when every job completed and everything it wrote can be retrieved by DICOMweb."""
    table = Table(title="What came back (not for diagnosis)", show_lines=True)
    for heading, share in (("arrived", 2), ("pipeline, model", 3), ("findings", 7), ("priority", 3)):
        table.add_column(heading, overflow="fold", ratio=share)
    table.expand = True
    complete = all(job["state"] == "COMPLETED" for job in jobs.values())
    places: list[str] = []
    for uid in sent.studies:
        results = demo.get(f"/ai/studies/{uid}/findings")["results"]
        complete = complete and bool(results)
        for result in results:
            job = jobs[result["job"]]
            table.add_row(
                sent.name(job),
                "\n".join([job["pipeline"], *_models(job), f"on {_provider(job)}"]),
                "\n".join(_lines(result)) or "nothing",
                f"{result['verdict']['priority']}: {result['verdict']['reason']}",
            )
            for evidence in result["evidence"]:
                path = f"/dicom-web/studies/{uid}/series/{evidence['series_instance_uid']}/metadata"
                complete = complete and demo.client.get(path).status_code == 200
            roles = ", ".join(evidence["role"] for evidence in result["evidence"])
            places.append(f"  {sent.name(job)}, {job['pipeline']}: {roles or 'no objects'}")
        places.append(f"  {demo.url}/ai/studies/{uid}/findings")
    console.print(table)
    for job in jobs.values():
        if job["state"] != "COMPLETED":
            console.print(f"[bold]{sent.name(job)}, {job['pipeline']}: {job['state']}[/bold], {job['reason']}")
    console.print("stored as DICOM in the same studies, and retrieved by DICOMweb:", *places, sep="\n", soft_wrap=True)
    return _lists(demo, sent) and complete


def _lists(demo: Demo, sent: Sent) -> bool:
    """What stands on the worklists, and the cases like the excision; True where each of them has something."""
    console.print(f"the reading room, for a browser: {demo.url}/ai/", soft_wrap=True)
    console.print(f"worklist, in the order of reading: {demo.url}/ai/worklist", soft_wrap=True)
    for entry in demo.get("/ai/worklist")["studies"]:
        console.print(f"  {entry['verdict']['priority']}: {entry['verdict']['reason']}", soft_wrap=True)
    rescans = demo.get("/ai/rescans")["slides"]
    console.print(f"to be scanned again: {demo.url}/ai/rescans", soft_wrap=True)
    for entry in rescans:
        console.print(f"  {sent.names.get(entry['series'], entry['series'])}: {entry['reason']}", soft_wrap=True)
    excision = next(uid for uid, name in sent.names.items() if name == "excision")
    cases = demo.get(f"/ai/similar/{excision}")["cases"]
    console.print(f"earlier cases like the excision: {demo.url}/ai/similar/{excision}", soft_wrap=True)
    for case in cases:
        console.print(f"  {sent.names.get(case['series'], case['series'])}: similarity {case['similarity']:.3f}")
    return bool(rescans) and bool(cases)


def _models(job: Mapping[str, Any]) -> list[str]:
    return [f"{model['name']} {model['version']}" for model in (job["model"], *job["companions"].values())]


def _provider(job: Mapping[str, Any]) -> str:
    return str(job["execution_provider"] or "nothing").removesuffix("ExecutionProvider")


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    shown = result["findings"][:MOST_FINDINGS]
    for finding in shown:
        eye = f" {finding['laterality']}" if finding["laterality"] else ""
        yield f"[bold]{finding['label']}{eye}[/bold]"
        for m in finding["measurements"]:
            unit = "" if m["unit"] == "1" else f" {m['unit'].strip('{}')}"
            yield f"  {m['name']['meaning']}: {m['value']:.4g}{unit}"
        for e in finding["evaluations"]:
            yield f"  {e['name']['meaning']}: {e['value']['meaning']}"
    if further := len(result["findings"]) - len(shown):
        yield f"and {further} further findings"
    for missing in result["not_analysed"]:
        yield f"  {missing['quantity']}: {missing['reason']}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main())
