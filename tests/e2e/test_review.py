"""A reader reviews what the router found, in a real Orthanc: another system finds the verified report by DICOMweb."""

import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO

from tests.dciodvfy import assert_conformant
from tests.e2e.samples import macula, photograph, stained_slide
from tests.orthanc_process import PASSWORD, USER
from tests.router_process import RouterProcess, _first_part

pytestmark = pytest.mark.orthanc

USERS = {
    USER: {"Roles": ["technician", "governance", "administrator"]},
    "anna": {"Roles": ["reader"], "Name": "Müller^Anna", "Organization": "Klinikum Süd"},
}
SECRETS = {USER: PASSWORD, "anna": "anna-secret"}


def started(folder: Path) -> RouterProcess:
    users = {name: {**entry} for name, entry in USERS.items()}
    users[USER]["Roles"] = [*users[USER]["Roles"], "reader"]  # asks for findings in these tests
    return RouterProcess(folder, {"Users": users}, RegisteredUsers=SECRETS)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouterProcess]:
    with started(tmp_path_factory.mktemp("room")) as router:
        router.wait_state()
        yield router


class Study:
    """One analysed study and its reader, who talks to the server as Anna."""

    def __init__(self, router: RouterProcess, instances: Sequence[Dataset]) -> None:
        self.router, self.source = router, instances[0]
        self.uid = str(instances[0].StudyInstanceUID)
        router.c_store(*instances)
        (self.job,) = router.wait_jobs(self.uid)
        assert self.job["state"] == "COMPLETED", self.job["reason"]

    def result(self) -> dict[str, Any]:
        (result,) = self.router.results(self.uid)
        return result

    def findings(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.result()["findings"]
        return found

    def post(self, decisions: Sequence[dict[str, Any]], request: str | None = None) -> httpx.Response:
        body = {"request": request or str(uuid.uuid4()), "decisions": list(decisions)}
        url = f"{self.router.url}/ai/studies/{self.uid}/reviews"
        return httpx.post(url, json=body, auth=("anna", SECRETS["anna"]), trust_env=False, timeout=60)

    def decision(self, finding: dict[str, Any], verb: str, **more: Any) -> dict[str, Any]:
        version = finding["review"]["version"]
        return {"job": self.job["key"], "finding": finding["key"], "version": version, "verb": verb, **more}

    def decide(self, verb: str, *findings: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
        """The objects of one decision on these findings, or on all of them, as they stand now."""
        answer = self.post([self.decision(f, verb, **more) for f in findings or self.findings()])
        assert answer.status_code == 200, answer.text
        objects: list[dict[str, Any]] = answer.json()["objects"]
        assert all(each["stored"] for each in objects), objects
        return objects

    def fetched(self, made: dict[str, Any]) -> Dataset:
        """An object found by QIDO-RS and retrieved by WADO-RS."""
        uid, series = made["sop_instance_uid"], made["series_instance_uid"]
        rest = self.router.rest
        found = rest.get(
            f"/dicom-web/studies/{self.uid}/instances",
            params={"SOPInstanceUID": uid},
            headers={"Accept": "application/dicom+json"},
        ).json()
        assert [i["00080018"]["Value"] for i in found] == [[uid]]
        answer = rest.get(
            f"/dicom-web/studies/{self.uid}/series/{series}/instances/{uid}",
            headers={"Accept": "multipart/related; type=application/dicom"},
        )
        assert answer.status_code == 200, answer.text
        return pydicom.dcmread(DicomBytesIO(_first_part(answer.headers["content-type"], answer.content)))

    def machine(self, role: str) -> str:
        return str(next(r["sop_instance_uid"] for r in self.result()["report"] if r["role"] == role))


def predecessor(ds: Dataset) -> tuple[str, str]:
    (instance,) = ds.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    return str(instance.ReferencedSOPInstanceUID), str(instance.PurposeOfReferenceCodeSequence[0].CodeValue)


def title(ds: Dataset) -> str:
    return str(ds.ConceptNameCodeSequence[0].CodeValue)


def check_verified(study: Study, ds: Dataset) -> None:
    assert_conformant(ds)
    assert (ds.CompletionFlag, ds.VerificationFlag, ds.PreliminaryFlag) == ("COMPLETE", "VERIFIED", "FINAL")
    assert str(ds.VerifyingObserverSequence[0].VerifyingObserverName) == "Müller^Anna"
    assert ds.VerifyingObserverSequence[0].VerifyingOrganization == "Klinikum Süd"
    assert (ds.PatientID, ds.StudyInstanceUID) == (study.source.PatientID, study.uid)
    assert "UNVERIFIED" not in ds.SeriesDescription and "VERIFIED by Müller Anna" in ds.SeriesDescription


def sources_of(kind: str) -> Sequence[Dataset]:
    return {"slide": lambda: stained_slide()[1], "oct": lambda: [macula()], "fundus": lambda: [photograph()]}[kind]()


@pytest.mark.parametrize("kind", ["slide", "oct", "fundus"])
def test_accept_amend_reject_withdraw(room: RouterProcess, kind: str) -> None:
    study = Study(room, sources_of(kind))
    before = room.instance_count(study.uid)
    jobs = len(room.ai("jobs", limit=1000)["jobs"])

    made = study.decide("accept")
    for each in made:
        ds = study.fetched(each)
        check_verified(study, ds)
        assert predecessor(ds) == (study.machine(each["role"].removeprefix("verified ")), "121362")

    finding = next(f for f in study.findings() if f["measurements"])
    measurement = finding["review"]["choices"]["measurements"][0]
    concept = measurement["name"]["value"]
    value = float(round(measurement["value"] / 2))
    (again,) = study.decide("amend", finding, amendment={"measurements": {concept: value}})
    ds = study.fetched(again)
    check_verified(study, ds)
    former = next(m for m in made if m["role"] == again["role"])
    assert predecessor(ds) == (former["sop_instance_uid"], "121360")
    assert str(value).rstrip("0").rstrip(".") in ds.to_json() and "Manual" in ds.to_json()

    study.decide("withdraw")
    (rejected,) = study.decide("reject", reason="REJECT-QUALITY", comment="Artefakt")
    ds = study.fetched(rejected)
    assert_conformant(ds)
    assert title(ds) == "113001"
    listed = [
        i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in ds.ContentSequence if "ReferencedSOPSequence" in i
    ]
    assert sorted(listed) == sorted(e["sop_instance_uid"] for e in study.result()["evidence"])
    withdrawn = [study.fetched(each) for each in study.decide("withdraw")]
    assert [title(ds) for ds in withdrawn] == ["131360"]

    history = room.ai(f"studies/{study.uid}/reviews")
    assert room.instance_count(study.uid) == before + len(history["objects"])
    assert {d["by"] for d in history["decisions"]} == {"anna"}
    # What reviews write is no work for the router.
    room.until(lambda: room.ai("health")["intake_lag_seconds"] == 0, "the intake to rest")
    assert len(room.ai("jobs", limit=1000)["jobs"]) == jobs
    assert all(d["route"] for d in room.ai("decisions", study=study.uid)["decisions"])


def test_a_priority_falls_with_the_finding_that_set_it(room: RouterProcess) -> None:
    study = Study(room, [photograph("out-of-focus")])

    def mark() -> str:
        return str(room.rest.get(f"/studies/{study.job['study_id']}/metadata/4201").text)

    urgent = study.result()["verdict"]["priority"]
    assert mark() == urgent == "HIGH"
    study.decide("reject", reason="REJECT-FALSE")
    assert mark() != urgent
    assert room.ai(f"studies/{study.uid}/findings")["verdict"]["priority"] == mark()
    study.decide("withdraw")
    assert mark() == urgent


def test_a_stale_decision_and_a_replay(room: RouterProcess) -> None:
    study = Study(room, [photograph()])
    old = study.findings()
    first = study.post([study.decision(old[0], "accept")], request="request-1")
    again = study.post([study.decision(old[0], "accept")], request="request-1")
    assert first.status_code == again.status_code == 200 and first.json() == again.json()
    count = room.instance_count(study.uid)
    stale = study.post([study.decision(old[0], "reject", reason="REJECT-FALSE")])
    assert stale.status_code == 409, stale.text
    assert [f["state"] for f in stale.json()["findings"]] == ["accepted"]
    assert room.instance_count(study.uid) == count


def test_what_a_crash_left_between_decision_and_archive_is_stored_at_the_next_start(tmp_path: Path) -> None:
    with started(tmp_path) as router:
        router.wait_state()
        study = Study(router, [photograph()])
        (made,) = study.decide("accept")
        uid = made["sop_instance_uid"]
        (instance,) = router.rest.post("/tools/lookup", content=uid).json()
        content = router.rest.get(f"/instances/{instance['ID']}/file").content
        router.rest.delete(f"/instances/{instance['ID']}")
        router.kill()
        # As it stands when the process dies after the transaction: finished, and not in the archive.
        with sqlite3.connect(tmp_path / "state" / "airouter.sqlite") as db:
            changed = db.execute("update review_object set content = ?, instance = null where uid = ?", (content, uid))
            assert changed.rowcount == 1
        db.close()
        router.start()
        router.wait_state()

        def delivered() -> bool:
            (each,) = router.ai(f"studies/{study.uid}/reviews")["objects"]
            return bool(each["stored"])

        router.until(delivered, "the report to be stored")
        check_verified(study, study.fetched(made))
        assert router.ai(f"studies/{study.uid}/reviews")["decisions"][0]["state"] == "accepted"
