"""How the viewer's files are served: types, caching, compression, policy, and what is never served."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from airouter.web.app import create_app
from airouter.web.ohif import OhifFolder
from tests.web_services import Fake

DIGEST = "0123456789ab"
SCRIPT = b"console.log('patched');\n" * 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "3.13.2-0123456789ab"
    (made / "assets").mkdir(parents=True)
    about = {"version": "3.13.2", "digest": DIGEST, "inline": ["sha256-AAAA"]}
    (made / "airouter.json").write_text(json.dumps(about))
    for name, data in {
        "index.html": b"<!doctype html><title>viewer</title>",
        "app.bundle.0f.js": SCRIPT,
        "codec.wasm": b"\0asm",
        "font.woff2": b"wOF2",
        "assets/logo.svg": b"<svg/>",
        "secrets.txt": b"no type",
    }.items():
        (made / name).write_bytes(data)
    (made / "app.bundle.0f.js.gz").write_bytes(gzip.compress(SCRIPT, mtime=0))
    (tmp_path / "outside.js").write_text("outside")
    (made / "leads-out.js").symlink_to(tmp_path / "outside.js")
    (tmp_path / "viewer").symlink_to(made)
    return tmp_path / "viewer"


def client_of(viewer: OhifFolder | None) -> FlaskClient:
    made: FlaskClient = create_app(replace(Fake(None).services(), viewer=lambda: viewer)).test_client()
    return made


@pytest.fixture
def client(folder: Path) -> Iterator[FlaskClient]:
    with client_of(OhifFolder.of(folder, precompressed=True)) as client:
        yield client


@pytest.mark.parametrize(
    "path", ["/ohif", "/ohif/", "/ohif/viewer", "/ohif/microscopy?StudyInstanceUIDs=1.2", "/ohif/a/b"]
)
def test_pages_of_the_viewer_are_its_index(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert b"<title>viewer" in answer.data
    assert answer.headers["Cache-Control"] == "no-cache"
    again = client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize(
    ("name", "mimetype"),
    [
        ("app.bundle.0f.js", "text/javascript"),
        ("codec.wasm", "application/wasm"),
        ("font.woff2", "font/woff2"),
        ("assets/logo.svg", "image/svg+xml"),
    ],
)
def test_files_under_the_digest_are_kept_for_ever(client: FlaskClient, name: str, mimetype: str) -> None:
    answer = client.get(f"/ohif/{DIGEST}/{name}")
    assert (answer.status_code, answer.mimetype) == (200, mimetype)
    assert "immutable" in answer.headers["Cache-Control"]


def test_a_file_is_sent_compressed_only_to_who_takes_it(client: FlaskClient) -> None:
    path = f"/ohif/{DIGEST}/app.bundle.0f.js"
    packed = client.get(path, headers={"Accept-Encoding": "gzip, deflate"})
    plain = client.get(path, headers={"Accept-Encoding": "gzip;q=0"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == SCRIPT == plain.data
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["ETag"] != plain.headers["ETag"]
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"


def test_nothing_is_compressed_twice(folder: Path) -> None:
    """Where Orthanc compresses itself."""
    client = client_of(OhifFolder.of(folder, precompressed=False))
    answer = client.get(f"/ohif/{DIGEST}/app.bundle.0f.js", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in answer.headers
    assert answer.data == SCRIPT


@pytest.mark.parametrize(
    "path",
    [
        f"/ohif/{DIGEST}/nothing.js",
        f"/ohif/{DIGEST}/secrets.txt",
        f"/ohif/{DIGEST}/leads-out.js",
        f"/ohif/{DIGEST}/assets",
        f"/ohif/{DIGEST}/assets/",
        f"/ohif/{DIGEST}/../../outside.js",
        "/ohif/ba9876543210/app.bundle.0f.js",
        "/ohif/sw.js",
    ],
)
def test_what_is_no_file_of_the_viewer_is_not_found(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404, answer.data
    assert set(json.loads(answer.data)["error"]) == {"reason", "advice"}


@given(st.lists(st.sampled_from(["..", ".", "", "assets", "logo.svg", "outside.js", "\\", "\0", "%2e%2e"]), max_size=6))
def test_no_path_leads_out_of_the_folder(parts: list[str]) -> None:
    root = Path(__file__).resolve().parent  # any folder with files around it
    viewer = OhifFolder(root, "v", DIGEST, "", False)
    found = viewer.file("/".join(parts))
    assert found is None or found.is_relative_to(root)


def test_the_policy_lets_in_nobody_else(client: FlaskClient) -> None:
    for path in ("/ohif/", f"/ohif/{DIGEST}/app.bundle.0f.js", "/ohif/app-config.js"):
        policy = client.get(path).headers["Content-Security-Policy"]
        directives = dict(each.strip().partition(" ")[::2] for each in policy.split(";"))
        assert directives["default-src"] == "'none'"
        assert directives["frame-ancestors"] == directives["frame-src"] == "'self'"
        assert "'sha256-AAAA'" in directives["script-src"]
        assert "'unsafe-inline'" not in directives["script-src"]
        sources = {source for value in directives.values() for source in value.split()}
        assert not {s for s in sources if "*" in s or "http" in s or "." in s}, "another host"


def test_the_configuration_is_the_routers_own(client: FlaskClient) -> None:
    answer = client.get("/ohif/app-config.js")
    assert (answer.status_code, answer.mimetype) == (200, "text/javascript")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert b"/ai/dicom-web" in answer.data and b"disableConfirmationPrompts: false" in answer.data


def test_a_viewer_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    assert OhifFolder.of(tmp_path, precompressed=True) is None
    answer = client_of(None).get("/ohif/")
    assert answer.status_code == 503
    assert "scripts/ohif" in json.loads(answer.data)["error"]["advice"]


@pytest.mark.parametrize("about", ["", "[]", "{}", '{"version": "1", "digest": "2"}'])
def test_a_folder_that_is_none_of_ours_is_no_viewer(tmp_path: Path, about: str) -> None:
    (tmp_path / "airouter.json").write_text(about)
    assert OhifFolder.of(tmp_path, precompressed=True) is None
