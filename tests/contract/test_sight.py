"""What is asked of Orthanc in a user's name, and what each answer means."""

from collections.abc import Callable

import httpx
import pytest
from pyorthanc import Orthanc

from airouter.adapters.sight import OrthancSight, credential_headers
from airouter.errors import ArchiveUnavailable, NotInArchive
from airouter.ports import SeenStudy

STUDY = {"ID": "s", "ParentPatient": "p", "PatientMainDicomTags": {"PatientID": "4711"}}
SERIES = [{"MainDicomTags": {"SeriesInstanceUID": "1.2"}}, {"MainDicomTags": {"SeriesInstanceUID": "1.3"}}]


def sight(answer: Callable[[httpx.Request], httpx.Response], *credentials: str) -> OrthancSight:
    return OrthancSight(Orthanc("http://127.0.0.1:1", transport=httpx.MockTransport(answer)), credentials)


def served(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=SERIES if request.url.path.endswith("/series") else STUDY)


def test_a_study_that_the_user_may_read() -> None:
    assert sight(served).study("s", {}) == SeenStudy(frozenset({"1.2", "1.3"}), "p")


@pytest.mark.parametrize("known", [{}, {"PatientID": ""}, {"PatientID": " "}])
def test_without_a_patient_id_nobody_knows_whose_it_is(known: dict[str, str]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        own = httpx.Response(200, json=STUDY | {"PatientMainDicomTags": known})
        return served(request) if request.url.path.endswith("/series") else own

    seen = sight(answer).study("s", {})
    assert seen is not None
    assert seen.patient is None


@pytest.mark.parametrize("denied", ["/studies/s", "/studies/s/series"])
@pytest.mark.parametrize("status", [401, 403])
def test_what_is_denied_is_not_seen(denied: str, status: int) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status) if request.url.path == denied else served(request)

    assert sight(answer).study("s", {}) is None


def test_what_is_not_there_and_an_archive_that_does_not_answer() -> None:
    with pytest.raises(NotInArchive):
        sight(lambda request: httpx.Response(404)).study("s", {})
    with pytest.raises(ArchiveUnavailable):
        sight(lambda request: httpx.Response(503)).study("s", {})


def test_nothing_but_the_users_own_credentials_is_passed_on() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return served(request)

    given = {
        "authorization": "Basic YTpi",
        "token": "t",
        "cookie": "c=1",
        "x-http-method-override": "DELETE",
        "x-forwarded-user": "root",
        "host": "elsewhere",
    }
    sight(answer, "Token").study("s", given)
    for request in asked:
        assert request.method == "GET"
        assert request.headers["authorization"] == "Basic YTpi"
        assert request.headers["token"] == "t"
        assert request.headers["host"] == "127.0.0.1:1"
        assert not {"cookie", "x-http-method-override", "x-forwarded-user"} & set(request.headers)
    asked.clear()
    sight(answer).study("s", {"token": "t"})
    assert all("authorization" not in r.headers and "token" not in r.headers for r in asked)


def test_no_cookie_of_one_user_goes_along_with_another() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        made = served(request)
        made.headers["Set-Cookie"] = "session=alice; Path=/"
        return made

    one = sight(answer)
    one.study("s", {"authorization": "Basic alice"})
    one.study("s", {"authorization": "Basic bob"})
    assert len(asked) == 4
    assert not any("cookie" in request.headers for request in asked)


SIZE, FILE = "/instances/i/attachments/dicom/size", "/instances/i/file"


def stored(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, text="4") if request.url.path == SIZE else httpx.Response(200, content=b"DICM")


def test_a_file_that_the_user_may_read() -> None:
    assert sight(stored).file("i", {}, 4) == b"DICM"


def test_of_a_file_that_is_too_large_only_the_size_is_asked() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return stored(request)

    assert sight(answer).file("i", {}, 3) == 4
    assert asked == [SIZE]


@pytest.mark.parametrize("denied", [SIZE, FILE])
@pytest.mark.parametrize("status", [401, 403])
def test_a_file_that_is_denied_is_not_seen(denied: str, status: int) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status) if request.url.path == denied else stored(request)

    assert sight(answer).file("i", {}, 4) is None


def test_a_file_is_asked_for_with_nothing_but_the_users_own_credentials() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return stored(request)

    sight(answer).file("i", {"authorization": "Basic YTpi", "cookie": "c=1", "x-http-method-override": "DELETE"}, 4)
    assert [r.method for r in asked] == ["GET", "GET"]
    assert all(r.headers["authorization"] == "Basic YTpi" for r in asked)
    assert not any({"cookie", "x-http-method-override"} & set(r.headers) for r in asked)
    with pytest.raises(NotInArchive):
        sight(lambda request: httpx.Response(404)).file("i", {}, 4)


def test_an_identifier_leads_nowhere_else() -> None:
    asked: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path)
        return httpx.Response(403)

    sight(answer).study("../system?x", {})
    assert asked == [b"/studies/..%2Fsystem%3Fx"]


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ({"Authorization": {"TokenHttpHeaders": ["token", "api-key"]}}, ("token", "api-key")),
        ({"Authorization": {}}, ()),
        ({"Authorization": None}, ()),
        ({}, ()),
    ],
)
def test_the_authorization_plugin_names_further_headers(document: dict[str, object], names: tuple[str, ...]) -> None:
    assert credential_headers(document) == names
