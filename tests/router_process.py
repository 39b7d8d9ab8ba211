"""A real Orthanc with the router in it, and what a test asks of it."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pydicom
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO

from phantoms.modality import send
from tests.orthanc_process import OrthancProcess

ROOT = Path(__file__).resolve().parent.parent
T = TypeVar("T")


class RouterProcess(OrthancProcess):
    """OrthancProcess with the shipped orthanc.json underneath; `router` overrides keys of its section AIRouter."""

    environment: Mapping[str, str] = {"PYTHONEXECUTABLE": str(ROOT / ".venv" / "bin" / "python")}

    @classmethod
    def without_packages(cls, folder: Path) -> "RouterProcess":
        """One whose Python finds no virtual environment, as after a botched installation."""
        botched = type("Botched", (cls,), {"environment": {"AIROUTER_VENV": str(folder / "nowhere")}})
        made: RouterProcess = botched(folder)
        return made

    def __init__(self, folder: Path, router: Mapping[str, Any] | None = None, **config: Any) -> None:
        shipped = json.loads((ROOT / "orthanc.json").read_text())
        taken = {
            key: value
            for key, value in shipped.items()
            if key not in ("StorageDirectory", "IndexDirectory", "HttpPort", "DicomPort", "DicomAet", "Name")
        }
        script = str(ROOT / "plugin" / "main.py")
        section = shipped["AIRouter"] | {
            "ModelsDirectory": str(ROOT / "models"),
            "StateDirectory": str(folder / "state"),
            "QuietTimeSeconds": 1,
            **(router or {}),
        }
        taken |= {
            "PythonScript": script,
            "Python": shipped["Python"] | {"Path": script},
            "AIRouter": section,
            **config,
        }
        super().__init__(folder, taken, env=self.environment)

    def wait_state(self, state: str = "running") -> dict[str, Any]:
        """The health document once the router is in that state."""

        def there() -> dict[str, Any] | None:
            health = self.ai("health")
            return health if health["state"] == state else None

        return self.until(there, f"router {state}")

    def ai(self, path: str, **params: Any) -> Any:
        """GET /ai/{path}, parsed."""
        answer = self.rest.get(f"/ai/{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def until(self, condition: Callable[[], T | None], what: str, seconds: float = 120) -> T:
        """What `condition` answers once it is true; AssertionError with the end of the log after `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            assert self.running, f"Orthanc ended while waiting for {what}:\n{self.tail()}"
            time.sleep(0.05)
        raise AssertionError(f"{what} did not happen within {seconds} s:\n{self.tail()}")

    def c_store(self, *datasets: Dataset) -> None:
        """Send by C-STORE; every instance must be accepted."""
        assert send(datasets, self.dicom_port, called=self.aet) == [0] * len(datasets)

    def jobs(self, study_uid: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ai("jobs", study=study_uid)["jobs"]
        return found

    def wait_jobs(self, study_uid: str, count: int = 1, seconds: float = 180) -> list[dict[str, Any]]:
        """The jobs of a study once there are `count` of them and all have ended."""

        def ended() -> list[dict[str, Any]] | None:
            jobs = self.jobs(study_uid)
            done = len(jobs) >= count and all(j["state"] in ("COMPLETED", "CANCELED") for j in jobs)
            return jobs if done else None

        return self.until(ended, f"{count} job(s) of study {study_uid}", seconds)

    def wait_decision(self, study_uid: str, outcome: str) -> dict[str, Any]:
        """The first decision of a study with that outcome."""

        def made() -> dict[str, Any] | None:
            found = self.ai("decisions", study=study_uid)["decisions"]
            return next((d for d in found if d["outcome"] == outcome), None)

        return self.until(made, f"a decision {outcome} on study {study_uid}")

    def results(self, study_uid: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ai(f"studies/{study_uid}/findings")["results"]
        return found

    def instance_count(self, study_uid: str) -> int:
        found = self.rest.post("/tools/find", json={"Level": "Instance", "Query": {"StudyInstanceUID": study_uid}})
        return len(found.json())

    def evidence(self, study_uid: str) -> list[Dataset]:
        """Every object the router wrote into a study, retrieved through DICOMweb (WADO-RS) as another system would."""
        objects = []
        for result in self.results(study_uid):
            for written in result["evidence"]:
                series, uid = written["series_instance_uid"], written["sop_instance_uid"]
                path = f"/dicom-web/studies/{study_uid}/series/{series}/instances/{uid}"
                answer = self.rest.get(path, headers={"Accept": "multipart/related; type=application/dicom"})
                assert answer.status_code == 200, answer.text
                objects.append(
                    pydicom.dcmread(DicomBytesIO(_first_part(answer.headers["content-type"], answer.content)))
                )
        return objects


def _first_part(content_type: str, body: bytes) -> bytes:
    boundary = content_type.split("boundary=")[1].split(";")[0].strip('"').encode()
    part = body.split(b"--" + boundary)[1]
    return part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")


def measurement(result: Mapping[str, Any], name: str) -> float:
    """The value of a measurement, by the meaning of its concept; AssertionError where the result does not have it."""
    values = [
        m["value"] for finding in result["findings"] for m in finding["measurements"] if m["name"]["meaning"] == name
    ]
    assert values, f"no {name} among {[m['name']['meaning'] for f in result['findings'] for m in f['measurements']]}"
    return float(values[0])
