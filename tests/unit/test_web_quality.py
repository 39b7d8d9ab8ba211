"""POST /ai/quality: bodies of every kind, what is refused, and that nothing is kept."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image

from airouter.domain.model import HeadKind
from airouter.domain.study import Modality
from airouter.errors import ArchiveUnavailable, ModelOutputError, RequestError
from airouter.imaging.upload import Fault, Rejected
from airouter.services.quality import NoModel, Quality, Reason
from airouter.web.app import create_app
from airouter.web.bridge import HttpRequest, respond
from airouter.web.guard import OWN_BODIES
from airouter.web.services import Health, RouterState, WebServices
from tests.pipelines.oracle import model

INSTANCE = "6b9e19d9-62094390-5f9ddb01-4a191ae7-9766b715"
GOOD = Quality(
    "photograph", True, (), 97.0, {"field_share": 0.7}, model(Modality.OP, HeadKind.CLASSIFICATION, ()), 41.5
)
POOR = Quality("photograph", False, (Reason("focus", "out-of-focus", True, 0.9),), 10.0)


class Checks:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self, answer: Any = GOOD) -> None:
        self.answer = answer
        self.asked: list[tuple[Any, ...]] = []

    def _told(self, *what: Any) -> Any:
        self.asked.append(what)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def picture(self, data: bytes) -> Any:
        return self._told("picture", data)

    def dicom(self, data: bytes, model: str | None = None) -> Any:
        return self._told("dicom", data, model)

    def stored(self, instance: str, headers: Mapping[str, str], model: str | None = None) -> Any:
        return self._told("stored", instance, headers.get("authorization"), model)


def services(checks: Checks | None) -> WebServices:
    return WebServices(
        health=lambda: Health(RouterState.RUNNING),
        models=lambda: (),
        journal=lambda: None,
        requests=lambda: None,
        quality=lambda: checks,
    )


def client(checks: Checks | None) -> FlaskClient:
    return create_app(services(checks)).test_client()


def post(checks: Checks | None, body: bytes, kind: str, **headers: str) -> Any:
    return client(checks).post("/ai/quality", data=body, content_type=kind, headers=headers)


@pytest.mark.parametrize("kind", ["image/jpeg", "image/png"])
def test_a_picture_gets_its_answer(kind: str) -> None:
    checks = Checks()
    answer = post(checks, b"\x00picture", kind)
    assert answer.status_code == 200
    assert answer.json == {
        "kind": "photograph", "gradable": True, "reasons": [], "rating": 97.0, "measures": {"field_share": 0.7},
        "model": {"name": "demo", "version": "1.0.0", "sha256": "ab" * 32}, "milliseconds": 41.5,
    }  # fmt: skip
    assert checks.asked == [("picture", b"\x00picture")]


def test_why_not_is_told() -> None:
    answer = post(Checks(POOR), b"x", "image/jpeg")
    assert answer.status_code == 200
    assert answer.json["gradable"] is False
    assert answer.json["model"] is None
    assert answer.json["reasons"] == [{"kind": "focus", "detail": "out-of-focus", "blocks": True, "probability": 0.9}]


def test_a_dicom_file_gets_its_answer() -> None:
    checks = Checks()
    assert post(checks, b"DICM", "application/dicom").status_code == 200
    assert checks.asked == [("dicom", b"DICM", None)]


@pytest.mark.parametrize("body", [{"instance": INSTANCE}, {"Instance": INSTANCE}])
def test_a_stored_instance_is_asked_for_with_the_users_credentials(body: dict[str, str]) -> None:
    checks = Checks()
    answer = client(checks).post("/ai/quality", json={**body, "model": "m"}, auth=("anna", "x"))
    assert answer.status_code == 200
    assert checks.asked == [("stored", INSTANCE, "Basic YW5uYTp4", "m")]


def test_what_a_user_may_not_see_is_not_there() -> None:
    answer = client(Checks(None)).post("/ai/quality", json={"instance": INSTANCE})
    assert answer.status_code == 404
    assert answer.json["error"]["reason"] == "no such instance"


@pytest.mark.parametrize(
    "body", [{}, {"instance": "../system"}, {"instance": 3}, {"instance": INSTANCE, "store": True}, {"model": "m"}]
)
def test_json_that_names_no_instance_is_refused(body: dict[str, Any]) -> None:
    checks = Checks()
    answer = client(checks).post("/ai/quality", json=body)
    assert answer.status_code == 422
    assert checks.asked == []


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (Rejected(Fault.UNREADABLE, "cut"), 400),
        (Rejected(Fault.TOO_LARGE, "large"), 413),
        (Rejected(Fault.OTHER_KIND, "other"), 415),
        (NoModel("none"), 503),
        (RequestError("model 'x' cannot judge photographs"), 422),
        (ArchiveUnavailable("Orthanc does not answer"), 503),
        (ModelOutputError("Canary^Patient"), 500),
        (ValueError("Canary^Patient"), 500),
    ],
)
def test_what_goes_wrong_is_told_as_everywhere(found: Any, status: int) -> None:
    answer = post(Checks(found), b"x", "image/png")
    assert answer.status_code == status
    assert set(answer.json["error"]) == {"reason", "advice"}
    assert b"Canary" not in answer.data


@pytest.mark.parametrize("kind", ["text/plain", "image/gif", "application/octet-stream", "multipart/form-data", ""])
def test_other_types_are_refused_unread(kind: str) -> None:
    checks = Checks()
    answer = post(checks, b"x", kind)
    assert answer.status_code == 415
    assert "image/jpeg" in answer.json["error"]["advice"]
    assert checks.asked == []


def test_a_compressed_body_is_refused() -> None:
    assert post(Checks(), b"x", "image/png", **{"Content-Encoding": "gzip"}).status_code == 415


def test_a_body_of_bounded_size_is_taken() -> None:
    most = OWN_BODIES["/ai/quality"]
    checks = Checks()
    assert post(checks, bytes(most), "image/png").status_code == 200
    answer = post(checks, bytes(most + 1), "image/png")
    assert answer.status_code == 413
    assert "25 MiB" in answer.json["error"]["advice"]
    assert len(checks.asked) == 1
    assert client(checks).post("/ai/quality", json={"instance": "x" * (2 << 20)}).status_code == 413


def test_other_routes_take_no_such_bodies() -> None:
    answer = client(Checks()).post("/ai/jobs", data=b"x", content_type="image/png")
    assert answer.status_code == 415


def test_another_site_asks_nothing() -> None:
    checks = Checks()
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://elsewhere.example"}):
        assert post(checks, b"x", "image/png", **headers).status_code == 403
    assert checks.asked == []


def test_a_router_that_does_not_run_says_so() -> None:
    assert post(None, b"x", "image/png").status_code == 503


def test_a_get_is_not_allowed() -> None:
    assert client(Checks()).get("/ai/quality").status_code == 405


def test_a_picture_crosses_the_bridge_whole(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (300, 200), (120, 60, 20)).save(file, "PNG")
    checks = Checks()
    request = HttpRequest("POST", "/ai/quality", {"content-type": "image/png"}, {}, file.getvalue())
    answer = respond(create_app(services(checks)), request)
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert checks.asked == [("picture", file.getvalue())]
    assert list(tmp_path.iterdir()) == []


def test_the_document_names_what_can_be_sent() -> None:
    document = client(Checks()).get("/ai/openapi.json").json
    operation = document["paths"]["/ai/quality"]["post"]
    assert set(operation["requestBody"]["content"]) == {
        "image/jpeg", "image/png", "application/dicom", "application/json"
    }  # fmt: skip
    assert {"200", "400", "404", "413", "415", "422", "503"} <= set(operation["responses"])
