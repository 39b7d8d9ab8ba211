"""The panel's routes: its page, one study of the worklist, and pictures of what no viewer draws."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from flask.testing import FlaskClient
from pydicom.dataset import Dataset

from airouter.adapters.database import DatabaseJournal
from airouter.adapters.memory import MemoryArchive
from airouter.domain import codes
from airouter.domain.job import Job, Source
from airouter.domain.picture import Chart, Picture, ThicknessMap, Trace
from airouter.domain.priority import Priority, Verdict
from airouter.domain.study import Modality
from airouter.evidence.secondary_capture import secondary_capture
from airouter.evidence.source import header
from airouter.evidence.thickness_map import thickness_map
from airouter.ports import ResultRecord, SeenStudy, StoredEvidence
from airouter.services.object_pictures import ObjectPictures
from airouter.web.app import create_app
from phantoms import dicom as phantoms
from tests import samples
from tests.unit.test_evidence_slide_seg import identity
from tests.web_services import Fake

ALICE = {"Authorization": "alice"}
CHART = Chart(
    "trend", "Trend", "1.2", "MD, right eye", "Year", "dB", (Trace("MD", "points", (2020.0, 2024.0), (-1.0, -3.0)),)
)


class Ward:
    """What Alice may see: everything; nobody else anything."""

    def __init__(self, archive: MemoryArchive) -> None:
        self.archive = archive
        self.most: int | None = None

    def study(self, study_id: str, headers: Mapping[str, str]) -> SeenStudy | None:
        if headers.get("authorization") != "alice":
            return None
        return SeenStudy(frozenset(i.series_uid for i in self.archive.study(study_id).instances), None)

    def file(self, instance: str, headers: Mapping[str, str], most: int) -> bytes | int | None:
        data = self.archive.part10(instance) if headers.get("authorization") == "alice" else None
        return len(data) if data is not None and self.most is not None and len(data) > self.most else data


class Ophthalmology:
    """A tomograph with a map and a picture of it, a photograph, a field; and what a job left of them."""

    def __init__(self, folder: Path) -> None:
        volume = phantoms.oct_instance(np.full((3, 16, 20), 40, np.uint8), seed="panel")
        volume.ImageLaterality = "R"
        self.study = str(volume.StudyInstanceUID)
        rgb = np.zeros((40, 60, 3), np.uint8)
        rgb[:, :, 0] = 250
        self.photograph = phantoms.fundus_instance(rgb, laterality="R", seed="panel op", study_uid=self.study)
        self.field = phantoms.field_instance(seed="panel opv", study_uid=self.study)
        self.volume = volume
        source = header(volume)
        plane = np.full((4, 5), 280.0, np.float32)
        made = ThicknessMap(
            "thickness", "M", str(volume.SOPInstanceUID), plane, (0.1, 0.1), codes.RETINAL_THICKNESS_ILM_BM
        )
        self.map = thickness_map(made, source, identity(source), 100)
        self.picture = secondary_capture(
            Picture("picture", "P", str(volume.SOPInstanceUID), rgb), source, identity(source), 101
        )
        self.capture = secondary_capture(
            Picture("trend", "T", str(volume.SOPInstanceUID), rgb), source, identity(source), 102
        )
        self.archive = MemoryArchive(volume, self.photograph, self.field, self.map, self.picture, self.capture)
        self.ward = Ward(self.archive)
        self.journal = DatabaseJournal(f"sqlite:///{folder / 'j.sqlite'}")
        self._keep("map", Modality.OPT, volume, [self.map, self.picture, self.capture], (CHART,))
        self._keep("field", Modality.OPV, self.field, [], ())

    def _keep(
        self, key: str, modality: Modality, source: Dataset, written: list[Dataset], charts: tuple[Chart, ...]
    ) -> None:
        job: Job = replace(
            samples.job(), key=key, study_uid=self.study, modality=modality,
            sources=(Source("i", str(source.SOPInstanceUID), "d"),),
        )  # fmt: skip
        self.journal.add(job)
        self.journal.start(key, "CPUExecutionProvider")
        roles = ("thickness", "picture", "trend")
        evidence = tuple(
            StoredEvidence(role, str(ds.SOPClassUID), str(ds.SOPInstanceUID), str(ds.SeriesInstanceUID), "i")
            for role, ds in zip(roles, written, strict=False)
        )
        self.journal.complete(
            ResultRecord(key, self.study, (), evidence, Verdict(Priority.LOW, "n"), (), charts=charts)
        )

    def client(self) -> FlaskClient:
        pictures = ObjectPictures(self.archive, self.journal, self.ward)
        return create_app(replace(Fake(self.journal).services(), pictures=lambda: pictures)).test_client()


@pytest.fixture
def eye(tmp_path: Path) -> Ophthalmology:
    return Ophthalmology(tmp_path)


def pixels(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


def of(eye: Ophthalmology, ds: Dataset) -> str:
    return f"/ai/studies/{eye.study}/objects/{ds.SOPInstanceUID}/picture"


def test_the_page_loads_nothing_from_elsewhere() -> None:
    client = create_app(Fake(None).services()).test_client()
    answer = client.get("/ai/panel?study=1.2.3&embedded=1")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "//" not in answer.text.replace("<!doctype", "")
    for query in ("", "?study=", "?study=<script>", "?study=1.2&other=1"):
        assert client.get(f"/ai/panel{query}").status_code == 422


def test_charts_maps_pictures_and_fields_are_listed(eye: Ophthalmology) -> None:
    answer = eye.client().get(f"/ai/studies/{eye.study}/pictures", headers=ALICE)
    found = {(p["job"], p["kind"], p["role"]): p for p in answer.json["pictures"]}
    assert set(found) == {
        ("map", "chart", "trend"),
        ("map", "map", "thickness"),
        ("map", "picture", "picture"),  # that of the chart is left out: the chart is there
        ("field", "field", "field"),
    }
    chart = found["map", "chart", "trend"]
    assert chart["url"] == "/ai/jobs/map/charts/trend/svg"
    assert "from 2020 to 2024 Year, -1 to -3 dB" in chart["text"]
    assert found["map", "map", "thickness"]["url"] == of(eye, eye.map)
    assert found["field", "field", "field"]["object"] == str(eye.field.SOPInstanceUID)
    assert eye.client().get("/ai/studies/1.2.3/pictures", headers=ALICE).json["pictures"] == []


def test_the_images_of_a_study(eye: Ophthalmology) -> None:
    series = eye.client().get(f"/ai/studies/{eye.study}/images", headers=ALICE).json["series"]
    assert {s["modality"] for s in series} == {"OP", "OPT", "OPV"}
    (photograph,) = (s for s in series if s["modality"] == "OP")
    assert photograph["images"] == [{"object": str(eye.photograph.SOPInstanceUID), "rows": 40, "columns": 60}]
    assert eye.client().get(f"/ai/studies/{eye.study}/images").json["series"] == []


@pytest.mark.parametrize("name", ["map", "field", "picture"])
def test_an_object_is_drawn_as_png(eye: Ophthalmology, name: str) -> None:
    answer = eye.client().get(of(eye, getattr(eye, name)), headers=ALICE)
    assert (answer.status_code, answer.mimetype) == (200, "image/png"), answer.text
    assert "no-store" in answer.headers["Cache-Control"]
    drawn = pixels(answer.data)
    if name == "picture":
        assert drawn.shape == (40, 60, 3) and (drawn == (250, 0, 0)).all()
    else:
        assert min(drawn.shape[:2]) > 300 and len(np.unique(drawn.reshape(-1, 3), axis=0)) > 10


def test_a_part_of_an_image(eye: Ophthalmology) -> None:
    answer = eye.client().get(of(eye, eye.photograph) + "?box=-10,0,70,80&side=80", headers=ALICE)
    assert (answer.status_code, answer.mimetype) == (200, "image/jpeg")
    drawn = pixels(answer.data)
    assert drawn.shape == (80, 80, 3)
    assert drawn[20, 40, 0] > 200 and drawn[20, 2].max() < 30 and drawn[70, 40].max() < 30
    frame = eye.client().get(of(eye, eye.volume) + "?frame=3", headers=ALICE)
    assert pixels(frame.data).shape[:2] == (16, 20)


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("volume", "frame=4"),
        ("volume", "frame=0"),
        ("photograph", "box=5,0,5,9"),
        ("photograph", "box=1,2,3"),
        ("photograph", "box=a,b,c,d"),
        ("photograph", "box=0,0,9999999,9"),
        ("photograph", "side=5000"),
        ("photograph", "size=100"),
    ],
)
def test_what_makes_no_sense_is_refused(eye: Ophthalmology, name: str, query: str) -> None:
    answer = eye.client().get(f"{of(eye, getattr(eye, name))}?{query}", headers=ALICE)
    assert answer.status_code == 422
    assert answer.json["error"]["reason"]


def test_who_may_not_see_a_study_sees_no_picture_of_it(eye: Ophthalmology) -> None:
    for ds in (eye.map, eye.photograph, eye.field):
        assert eye.client().get(of(eye, ds), headers={"Authorization": "bob"}).status_code == 404
    assert (
        eye.client().get(f"/ai/studies/1.2.3/objects/{eye.map.SOPInstanceUID}/picture", headers=ALICE).status_code
        == 404
    )
    assert eye.client().get(f"/ai/studies/{eye.study}/objects/1.2.3/picture", headers=ALICE).status_code == 404


def test_a_huge_map_is_not_read(eye: Ophthalmology) -> None:
    eye.ward.most = 100
    answer = eye.client().get(of(eye, eye.map), headers=ALICE)
    assert answer.status_code == 422 and "bytes" in answer.json["error"]["reason"]


def test_without_a_router_there_are_no_pictures() -> None:
    client = create_app(Fake(None).services()).test_client()
    for path in ("studies/1.2/pictures", "studies/1.2/images", "studies/1.2/objects/1.3/picture", "worklist/1.2"):
        assert client.get(f"/ai/{path}").status_code == 503


def test_a_study_that_is_not_on_the_worklist(eye: Ophthalmology) -> None:
    answer: Any = eye.client().get("/ai/worklist/1.2.3.4")
    assert answer.status_code == 404
