"""Settings: what is accepted, and that every refusal names its JSON path."""

import json
from pathlib import Path
from typing import Any

import pytest

from airouter import config
from airouter.domain import codes
from airouter.domain.model import Head, HeadKind, ModelClass
from airouter.domain.priority import Priority
from airouter.errors import ConfigurationError
from airouter.services.preflight import problems as preflight
from tests import samples

ROOT = Path(__file__).parents[2]
ROUTE = {"Name": "r", "Pipeline": "p", "Model": "m", "Match": {"Modality": "SM"}}
SAFE = {"AuthenticationEnabled": True, "RegisteredUsers": {"airouter": "x"}}


def document(**section: Any) -> dict[str, Any]:
    return {**SAFE, "AIRouter": section}


def refusal(doc: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(ConfigurationError) as raised:
        config.load(doc)
    return raised.value.path, raised.value.reason


def test_the_shipped_configuration_is_sound_once_a_user_is_registered() -> None:
    shipped = json.loads((ROOT / "orthanc.json").read_text())
    path, _ = refusal(shipped)
    assert path == "RegisteredUsers"
    settings = config.load(shipped | {"RegisteredUsers": {"airouter": "x"}})
    assert [r.model for r in settings.compiled_routes()] == ["nuclei", "oct-layers", "fundus-quality"]


def test_the_shipped_configuration_is_safe() -> None:
    shipped = json.loads((ROOT / "orthanc.json").read_text())
    assert shipped["AuthenticationEnabled"] is True
    assert shipped["RemoteAccessAllowed"] is False
    assert shipped["OverwriteInstances"] is False
    assert shipped["StoreMD5ForAttachments"] is True
    assert not any("Gdcm" in plugin for plugin in shipped["Plugins"])
    assert "RegisteredUsers" not in shipped


@pytest.mark.parametrize(
    ("section", "path", "reason"),
    [
        ({"Wrokers": 1}, "AIRouter.Wrokers", "unknown key"),
        ({"Workers": "2"}, "AIRouter.Workers", "integer"),
        ({"Workers": 0}, "AIRouter.Workers", "greater"),
        ({"ExecutionProviders": ["GPU"]}, "AIRouter.ExecutionProviders[0]", "CUDA"),
        ({"Routes": [{**ROUTE, "Modle": "m"}]}, "AIRouter.Routes[0].Modle", "unknown key"),
        ({"Routes": [{**ROUTE, "Match": {}}]}, "AIRouter.Routes[0].Match", "at least 1"),
        ({"Routes": [{**ROUTE, "Match": {"Modalty": "SM"}}]}, "AIRouter.Routes[0].Match.Modalty", "keyword"),
        ({"Routes": [{**ROUTE, "Match": {"Rows.X": 1}}]}, "AIRouter.Routes[0].Match.Rows.X", "sequence"),
        ({"Routes": [{**ROUTE, "Match": {"Rows": {"Min": 9, "Max": 1}}}]},
         "AIRouter.Routes[0].Match.Rows", "impossible"),
        ({"Routes": [{**ROUTE, "Match": {"Modality": {"Min": 9}}}]}, "AIRouter.Routes[0].Match.Modality", "numeric"),
        ({"Routes": [{**ROUTE, "Match": {"Rows": "many"}}]}, "AIRouter.Routes[0].Match.Rows", "never"),
        ({"Routes": [{**ROUTE, "Match": {"Rows": {"Mni": 9}}}]}, "AIRouter.Routes[0].Match.Rows.Mni", "unknown key"),
        ({"Routes": [{**ROUTE, "Match": {"Rows": {}}}]}, "AIRouter.Routes[0].Match.Rows", "range"),
        ({"Routes": [{**ROUTE, "Match": {"Modality": ""}}]}, "AIRouter.Routes[0].Match.Modality", "value"),
        ({"Routes": [{**ROUTE, "Match": {"SpecimenDescriptionSequence": "x"}}]},
         "AIRouter.Routes[0].Match.SpecimenDescriptionSequence", "Exists"),
        ({"Routes": [{**ROUTE, "Match": {"StudyDate": "2026-01-01"}}]},
         "AIRouter.Routes[0].Match.StudyDate", "never match"),
        ({"Routes": [{**ROUTE, "Match": {"StudyDate": "2026*"}}]}, "AIRouter.Routes[0].Match.StudyDate", "never match"),
        ({"Routes": [{**ROUTE, "Match": {"StudyDate": "2026"}}]}, "AIRouter.Routes[0].Match.StudyDate", "never match"),
        ({"Routes": [{**ROUTE, "Match": {"StudyTime": "10:00-12:00"}}]},
         "AIRouter.Routes[0].Match.StudyTime", "never match"),
        ({"Routes": [{**ROUTE, "Match": {"SOPClassUID": "1.2.840.*"}}]},
         "AIRouter.Routes[0].Match.SOPClassUID", "never match"),
        ({"Routes": [{**ROUTE, "Match": {"TransferSyntaxUID": "1.2.840.10008.1.2"}}]},
         "AIRouter.Routes[0].Match.TransferSyntaxUID", "do not see"),
        ({"Routes": [{**ROUTE, "Match": {"PixelData": {"Exists": True}}}]},
         "AIRouter.Routes[0].Match.PixelData", "do not see"),
        ({"Routes": [{**ROUTE, "Match": {"PerFrameFunctionalGroupsSequence": {"Exists": True}}}]},
         "AIRouter.Routes[0].Match.PerFrameFunctionalGroupsSequence", "do not see"),
        ({"Database": "airouter.sqlite"}, "AIRouter.Database", "pattern"),
        ({"Database": "sqlite://"}, "AIRouter.Database", "pattern"),
        ({"Database": "postgresql://user@host/x"}, "AIRouter.Database", "pattern"),
        ({"Routes": [{**ROUTE, "Priority": "URGENT"}]}, "AIRouter.Routes[0].Priority", "STAT"),
        ({"Routes": [ROUTE, ROUTE]}, "AIRouter.Routes[1].Name", "already"),
    ],
)  # fmt: skip
def test_a_wrong_section_names_the_path(section: dict[str, Any], path: str, reason: str) -> None:
    found_path, found_reason = refusal(document(**section))
    assert found_path == path
    assert reason in found_reason


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ({"RegisteredUsers": {"orthanc": "orthanc"}}, "RegisteredUsers.orthanc"),
        ({"RegisteredUsers": {}}, "RegisteredUsers"),
        ({"RegisteredUsers": ["airouter"]}, "RegisteredUsers"),
        ({"RemoteAccessAllowed": True, "AuthenticationEnabled": False}, "AuthenticationEnabled"),
        ({"HttpServerEnabled": False}, "HttpServerEnabled"),
        ({"AIRouter": []}, "AIRouter"),
        ({"AiRouter": {}}, "AiRouter"),
        ({"SslEnabled": True, "SslVerifyPeers": True}, "SslVerifyPeers"),
    ],
)
def test_what_orthanc_itself_must_guarantee(override: dict[str, Any], path: str) -> None:
    assert refusal({**document(), **override})[0] == path


def test_all_problems_are_told_not_only_the_first() -> None:
    found = config.problems(document(Wrokers=1, Workers="x"))
    assert {p.path for p in found} == {"AIRouter.Wrokers", "AIRouter.Workers"}


def test_values_and_priorities_arrive_typed(tmp_path: Path) -> None:
    match = {"Modality": ["SM", "OP"], "Rows": {"Min": 1}, "PatientID": {"Exists": True}}
    settings = config.load(document(Routes=[{**ROUTE, "Priority": "STAT", "Match": match}]))
    route = settings.compiled_routes()[0]
    assert route.priority is Priority.STAT
    assert [str(c) for c in route.conditions] == ["SM or OP", ">= 1", "exists"]
    assert settings.path("models_directory", tmp_path) == tmp_path / "models"
    assert settings.database_url(tmp_path) == f"sqlite:///{tmp_path / 'airouter-state' / 'airouter.sqlite'}"


def test_every_setting_has_a_paragraph_in_the_reference() -> None:
    reference = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    for model in (config.Settings, config.RouteSettings, config.AuditSettings):
        for field in model.model_fields.values():
            assert f"### `{field.alias}`" in reference, field.alias


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StudyDate", "20260101-20261231"),
        ("StudyDate", "20260101-"),
        ("StudyDate", "2026-2027"),
        ("StudyTime", "-120000.5"),
        ("AcquisitionDateTime", "20260101120000.0-"),
        ("SOPClassUID", r"1.2.3\1.2.4"),
    ],
)
def test_ranges_and_lists_that_can_match_are_taken(keyword: str, value: str) -> None:
    assert config.problems(document(Routes=[{**ROUTE, "Match": {keyword: value}}])) == []


@pytest.mark.parametrize("url", ["sqlite:////var/lib/x.sqlite", "postgresql+psycopg://user@host/airouter"])
def test_databases_that_are_taken(url: str) -> None:
    assert config.problems(document(Database=url)) == []


@pytest.mark.parametrize(("stated", "sound"), [("SM", True), (["OP", "SM"], True), ("S*", True), ("OP", False)])
def test_a_route_whose_modality_its_pipeline_does_not_read_is_impossible(stated: object, sound: bool) -> None:
    route = {"Name": "r", "Pipeline": "nuclear-positivity", "Model": "m", "Match": {"Modality": stated}}
    found = preflight(document(Routes=[route]), {"m": None})
    assert [p.path for p in found] == ([] if sound else ["AIRouter.Routes[0].Match.Modality"])


def test_what_a_route_sets_is_weighed_together_with_what_the_model_has() -> None:
    """Each parameter alone may be sound and the rule they make not."""
    classes = (ModelClass("tumour", codes.NEOPLASM),)
    tiles = samples.model(head=Head(HeadKind.CLASSIFICATION, "y", classes=classes))
    for parameters, sound in (({"high_percent": 5}, False), ({"high_percent": 5, "high_class": 1}, True)):
        route = {**ROUTE, "Pipeline": "slide-classification", "Parameters": parameters}
        found = preflight(document(Routes=[route]), {"m": tiles})
        assert [(p.path, "needs high_class" in p.reason) for p in found] == (
            [] if sound else [("AIRouter.Routes[0].Model", True)]
        )


def test_the_worklist_has_its_usual_rule_and_takes_another() -> None:
    usual = config.load(document()).worklist
    assert [usual.allowances.minutes[p] for p in Priority] == [0, 240, 1440, 4320]
    assert (usual.audit_share, usual.claim_minutes) == (0.1, 30)
    given = {"AllowanceMinutes": {"HIGH": 60, "LOW": 9000}, "AuditShare": 0.25, "ClaimMinutes": 5}
    other = config.load(document(Worklist=given)).worklist
    assert [other.allowances.minutes[p] for p in Priority] == [0, 60, 1440, 9000]
    assert (other.audit_share, other.claim_minutes) == (0.25, 5)


@pytest.mark.parametrize(
    ("given", "path", "reason"),
    [
        ({"AllowanceMinutes": {"HIGH": 5000}}, "AllowanceMinutes", "must not have a longer allowance"),
        ({"AllowanceMinutes": {"URGENT": 1}}, "AllowanceMinutes", "is no priority"),
        ({"AllowanceMinutes": {"STAT": -1}}, "AllowanceMinutes", "0 or more"),
        ({"AuditShare": 1.5}, "AuditShare", "less than or equal to 1"),
        ({"ClaimMinutes": 0}, "ClaimMinutes", "greater than or equal to 1"),
        ({"Share": 1}, "Share", "unknown key"),
    ],
)
def test_an_impossible_worklist_is_refused(given: dict[str, Any], path: str, reason: str) -> None:
    where, why = refusal(document(Worklist=given))
    assert where == f"AIRouter.Worklist.{path}"
    assert reason in why
