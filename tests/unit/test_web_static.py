"""The files of the pages: what is served, how, and what is not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from airouter.web import static
from airouter.web.app import create_app
from airouter.web.permissions import AIROUTER, Action
from tests.web_services import Fake


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = (tmp_path / "static").resolve()
    (root / "inner").mkdir(parents=True)
    (root / "a.js").write_text("export const a = 1;\n")
    (root / "inner" / "b.css").write_text("body {}\n")
    (root / "page.html").write_text("<!doctype html><title>Page</title>")
    (root / "notes.txt").write_text("not for the web")
    (tmp_path / "secret.js").write_text("secret")
    (root / "link.js").symlink_to(tmp_path / "secret.js")
    monkeypatch.setattr(static, "FOLDER", root)
    return root


@pytest.fixture
def client(folder: Path) -> Iterator[FlaskClient]:
    with create_app(Fake(None).services()).test_client() as client:
        yield client


@pytest.mark.parametrize(
    ("path", "mimetype"), [("a.js", "text/javascript"), ("inner/b.css", "text/css")], ids=["script", "style"]
)
def test_a_file_has_its_type_and_is_asked_for_again(client: FlaskClient, path: str, mimetype: str) -> None:
    answer = client.get(f"/ai/static/{path}")
    assert (answer.status_code, answer.mimetype) == (200, mimetype)
    assert answer.content_type.endswith("charset=utf-8")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    again = client.get(f"/ai/static/{path}", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == answer.headers["ETag"]


def test_a_changed_file_is_sent_anew(client: FlaskClient, folder: Path) -> None:
    before = client.get("/ai/static/a.js").headers["ETag"]
    (folder / "a.js").write_text("export const a = 22;\n")
    after = client.get("/ai/static/a.js", headers={"If-None-Match": before})
    assert (after.status_code, after.text) == (200, "export const a = 22;\n")
    assert after.headers["ETag"] != before


@pytest.mark.parametrize(
    "path",
    [
        "../secret.js",
        "inner/../../secret.js",
        "inner/../a.js",
        "./a.js",
        "/etc/hostname.js",
        "%2e%2e/secret.js",
        "..%2fsecret.js",
        "..\\secret.js",
        "a.js%00",
        "link.js",
        "inner",
        "inner/",
        "",
        "notes.txt",
        "page.html",
        "none.js",
    ],
)
def test_nothing_else_is_served(client: FlaskClient, path: str) -> None:
    answer = client.get(f"/ai/static/{path}")
    assert answer.status_code == 404
    assert b"secret" not in answer.data


def test_every_file_of_the_package_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    client = create_app(Fake(None).services()).test_client()
    files = [p for p in static.FOLDER.rglob("*") if p.is_file() and p.suffix != ".html"]
    assert {"base.css", "common.js"} <= {p.name for p in files}
    for file in files:
        answer = client.get(f"/ai/static/{file.relative_to(static.FOLDER).as_posix()}")
        assert (answer.status_code, answer.data) == (200, file.read_bytes()), file


def test_a_page_may_load_from_this_server_only(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(AIROUTER, ("GET", "/ai/page"), Action.READ)
    app = client.application
    app.add_url_rule("/ai/page", "page", lambda: static.page("page.html"))
    answer = app.test_client().get("/ai/page")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "frame-src": "'self'",
        "frame-ancestors": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    # a browser takes over the headers of a 304: another policy there would be the page's from then on
    again = app.test_client().get("/ai/page", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304
    assert again.headers["Content-Security-Policy"] == answer.headers["Content-Security-Policy"]


def test_the_pages_hold_nothing_that_the_policy_forbids() -> None:
    for page in static.FOLDER.rglob("*.html"):
        text = page.read_text()
        assert " style=" not in text and "<style" not in text and " onclick=" not in text, page
        for script in text.split("<script")[1:]:
            assert 'src="/ai/static/' in script.split(">")[0], page
    for script in static.FOLDER.rglob("*.js"):
        assert "innerHTML" not in script.read_text(), script
        assert "insertAdjacentHTML" not in script.read_text(), script
