"""Charts over REST: as numbers, and drawn."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from flask.testing import FlaskClient

from airouter.domain.picture import Chart, Trace
from airouter.evidence.chart import svg
from airouter.web.app import create_app
from tests.web_services import DONE, RESULT, RUNNING, Fake, filled

CHART = Chart(
    "trend",
    "Trend",
    "1.2.3.4.5",
    "MD, <right> eye",
    "Year",
    "dB",
    (
        Trace("MD", "points", (2020.0, 2021.5), (-1.0, -2.25)),
        Trace("95 %", "band", (2020.0, 2021.5), (-2.0, -3.0), (0.0, -1.0)),
    ),
    ("three fields",),
)
SECOND = replace(CHART, role="residuals of fit", traces=CHART.traces[:1], notes=())


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    journal = filled(tmp_path_factory.mktemp("journal"))
    journal.complete(replace(RESULT, job=RUNNING, evidence=(), charts=(CHART, SECOND)))
    yield Fake(journal)
    journal.close()


@pytest.fixture
def client(fake: Fake) -> FlaskClient:
    return create_app(fake.services()).test_client()


def test_charts_of_a_job_as_numbers(client: FlaskClient) -> None:
    answer = client.get(f"/ai/jobs/{RUNNING}/charts")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.json["job"] == RUNNING
    first, second = answer.json["charts"]
    assert first == {
        "role": "trend",
        "label": "Trend",
        "title": "MD, <right> eye",
        "x_label": "Year",
        "y_label": "dB",
        "traces": [
            {"label": "MD", "kind": "points", "x": [2020.0, 2021.5], "y": [-1.0, -2.25], "upper": []},
            {"label": "95 %", "kind": "band", "x": [2020.0, 2021.5], "y": [-2.0, -3.0], "upper": [0.0, -1.0]},
        ],
        "notes": ["three fields"],
    }
    assert second["role"] == "residuals of fit"


def test_a_job_without_charts_has_none_and_an_unknown_one_is_named_so(client: FlaskClient) -> None:
    assert client.get(f"/ai/jobs/{DONE}/charts").json == {"job": DONE, "charts": []}
    answer = client.get(f"/ai/jobs/{'f' * 64}/charts")
    assert answer.status_code == 404
    assert set(answer.json["error"]) == {"reason", "advice"}


@pytest.mark.parametrize("chart", [CHART, SECOND], ids=lambda c: c.role)
def test_a_chart_is_drawn_and_cannot_run_anything(client: FlaskClient, chart: Chart) -> None:
    answer = client.get(f"/ai/jobs/{RUNNING}/charts/{quote(chart.role)}/svg")
    assert (answer.status_code, answer.mimetype) == (200, "image/svg+xml")
    assert answer.text == svg(chart)
    assert ElementTree.fromstring(answer.text).tag.endswith("}svg")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "sandbox" in policy and "script" not in policy
    assert "style-src 'unsafe-inline'" in policy, "its colours stand in style attributes"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", [f"{RUNNING}/charts/none/svg", f"{DONE}/charts/trend/svg", "unknown/charts/trend/svg"])
def test_a_chart_that_is_not_there(client: FlaskClient, path: str) -> None:
    answer = client.get(f"/ai/jobs/{path}")
    assert (answer.status_code, answer.mimetype) == (404, "application/json")


def test_without_a_router_both_say_so(tmp_path: Path) -> None:
    client = create_app(Fake(None).services()).test_client()
    for path in ("charts", "charts/trend/svg"):
        answer = client.get(f"/ai/jobs/{RUNNING}/{path}")
        assert answer.status_code == 503
        assert "router" in answer.json["error"]["reason"]


def test_the_interface_describes_them(client: FlaskClient) -> None:
    paths = client.get("/ai/openapi.json").json["paths"]
    assert set(paths["/ai/jobs/{key}/charts"]["get"]["responses"]) >= {"200", "404"}
    drawn = paths["/ai/jobs/{key}/charts/{role}/svg"]["get"]["responses"]["200"]
    assert "image/svg+xml" in drawn["content"]
