"""Audit messages against the shape that PS3.15 A.5.1 gives them: elements, order, number, attributes and values."""

import base64
import datetime
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.sr._concepts_dict import concepts

from airouter.domain.audit import AuditEvent, AuditKind, AuditRecord, Outcome, head, text
from airouter.messages.audit_message import AuditSource, head_message, record_message

SOURCE = AuditSource("node 1", "pacs.example.org", 4711, "St. Example")
Check = Callable[[str], bool]


def token(value: str) -> bool:
    return value == " ".join(value.split())


def one_of(*values: str) -> Check:
    return lambda value: value in values


def numbers(last: int) -> Check:
    return one_of(*(str(n) for n in range(1, last + 1)))


def boolean(value: str) -> bool:
    return value in ("true", "false", "1", "0")


def whole(value: str) -> bool:
    return re.fullmatch(r"-?\d+", value) is not None


def base_64(value: str) -> bool:
    return base64.b64encode(base64.b64decode(value, validate=True)).decode() == value


def any_text(value: str) -> bool:
    return True


def date_time(value: str) -> bool:
    return datetime.datetime.fromisoformat(value).utcoffset() == datetime.timedelta(0)


@dataclass
class Shape:
    """An element: required and optional attributes, its text, and its children in order with least and most number."""

    required: Mapping[str, Check] = field(default_factory=dict)
    optional: Mapping[str, Check] = field(default_factory=dict)
    children: tuple[tuple[str, "Shape", int, int], ...] = ()
    text: Check | None = None


MANY = 10**6
CODED = Shape({"csd-code": token, "codeSystemName": token, "originalText": token}, {"displayName": token})
SOURCE_TYPE = Shape({"csd-code": numbers(9)}, {"codeSystemName": token, "originalText": token, "displayName": token})
SOP_CLASS = Shape({"NumberOfInstances": whole}, {"UID": token}, (("Instance", Shape({"UID": token}), 0, MANY),))
DESCRIPTION = Shape(
    children=(
        ("MPPS", Shape({"UID": token}), 0, MANY),
        ("Accession", Shape({"Number": token}), 0, MANY),
        ("SOPClass", SOP_CLASS, 0, MANY),
        (
            "ParticipantObjectContainsStudy",
            Shape(children=(("StudyIDs", Shape({"UID": token}), 0, MANY),)),
            0,
            1,
        ),
        ("Encrypted", Shape(text=boolean), 0, 1),
        ("Anonymized", Shape(text=boolean), 0, 1),
    )
)
OBJECT = Shape(
    {"ParticipantObjectID": token},
    {
        "ParticipantObjectTypeCode": numbers(4),
        "ParticipantObjectTypeCodeRole": numbers(26),
        "ParticipantObjectDataLifeCycle": numbers(15),
        "ParticipantObjectSensitivity": token,
    },
    (
        ("ParticipantObjectIDTypeCode", CODED, 1, 1),
        ("ParticipantObjectName", Shape(text=token), 1, 1),  # or a query, which none of ours has
        ("ParticipantObjectDetail", Shape({"type": token, "value": base_64}), 0, MANY),
        ("ParticipantObjectDescription", DESCRIPTION, 0, MANY),
    ),
)
PARTICIPANT = Shape(
    {"UserID": any_text, "UserIsRequestor": boolean},
    {
        "AlternativeUserID": any_text,
        "UserName": any_text,
        "NetworkAccessPointID": token,
        "NetworkAccessPointTypeCode": numbers(5),
    },
    (
        ("RoleIDCode", CODED, 0, MANY),
        ("MediaIdentifier", Shape(children=(("MediaType", CODED, 1, 1),)), 0, 1),
    ),
)
MESSAGE = Shape(
    children=(
        (
            "EventIdentification",
            Shape(
                {"EventDateTime": date_time, "EventOutcomeIndicator": one_of("0", "4", "8", "12")},
                {"EventActionCode": one_of(*"CRUDE")},
                (
                    ("EventID", CODED, 1, 1),
                    ("EventTypeCode", CODED, 0, MANY),
                    ("EventOutcomeDescription", Shape(text=any_text), 0, 1),
                ),
            ),
            1,
            1,
        ),
        ("ActiveParticipant", PARTICIPANT, 1, MANY),
        (
            "AuditSourceIdentification",
            Shape(
                {"AuditSourceID": token},
                {"AuditEnterpriseSiteID": token},
                (("AuditSourceTypeCode", SOURCE_TYPE, 0, MANY),),
            ),
            1,
            1,
        ),
        ("ParticipantObjectIdentification", OBJECT, 0, MANY),
    )
)


def valid(element: ET.Element, shape: Shape, path: str = "AuditMessage") -> list[str]:
    """What is wrong with an element, empty for nothing."""
    faults = [f"{path}@{name} is missing" for name in shape.required if name not in element.attrib]
    for name, value in element.attrib.items():
        check = shape.required.get(name) or shape.optional.get(name)
        if check is None:
            faults.append(f"{path}@{name} is unknown")
        elif not check(value):
            faults.append(f"{path}@{name} is {value!r}")
    if not (shape.text or (lambda said: not said.strip()))(element.text or ""):
        faults.append(f"{path} says {element.text!r}")
    rest = list(element)
    for tag, inner, least, most in shape.children:
        found = []
        while rest and rest[0].tag == tag:
            found.append(rest.pop(0))
        if not least <= len(found) <= most:
            faults.append(f"{path} has {len(found)} {tag}")
        for child in found:
            faults += valid(child, inner, f"{path}/{tag}")
    return faults + [f"{path} has {child.tag} there" for child in rest]


def record(event: AuditEvent, seq: int = 12) -> AuditRecord:
    at = "2026-11-29T06:30:00.123456+00:00"
    return AuditRecord(seq, at, text(event, seq, at), "ab" * 32)


def event(kind: AuditKind, **changes: Any) -> AuditEvent:
    given: dict[str, Any] = {
        "user": "alice",
        "roles": ("reader",),
        "study_uid": "1.2.3",
        "patient_id": "P 7",
        "detail": {
            "job": "c" * 64,
            "model": {"name": "nuclei", "version": "1.0", "sha256": "d" * 64, "contract": ""},
            "verdict": {"priority": "HIGH", "reason": "x"},
            "outputs": [
                {"role": "sr", "sop_class": "1.2.840.10008.5.1.4.1.1.88.34", "uid": "2.25.1", "digest": "d"},
                {"role": "sr2", "sop_class": "1.2.840.10008.5.1.4.1.1.88.34", "uid": "2.25.2", "digest": "d"},
                {"role": "seg", "sop_class": "1.2.840.10008.5.1.4.1.1.66.4", "uid": "2.25.3", "digest": "d"},
            ],
        },
    }
    return AuditEvent(kind, **(given | changes))


def parsed(message: str) -> ET.Element:
    return ET.fromstring(message.encode())


def test_the_shape_itself_finds_faults() -> None:
    """Otherwise the tests below would pass by finding nothing."""
    message = record_message(record(event(AuditKind.INFERENCE)), SOURCE)
    for old, new in [
        ('EventOutcomeIndicator="0"', 'EventOutcomeIndicator="1"'),
        ('EventActionCode="C"', 'EventActionCode="X"'),
        ('UserIsRequestor="true"', 'UserIsRequestor="yes"'),
        ("+00:00", "+01:00"),
        ("csd-code", "code"),
        ("AuditSourceID", "SourceID"),
        ("<ParticipantObjectName />", ""),
        ("ParticipantObjectName", "ParticipantName"),
        (' UserID="', ' User="'),
    ]:
        assert old in message
        assert valid(parsed(message.replace(old, new)), MESSAGE), (old, new)
    assert valid(parsed(re.sub("<AuditSourceIdentification.*</AuditSourceIdentification>", "", message)), MESSAGE)


@pytest.mark.parametrize("kind", AuditKind)
@pytest.mark.parametrize("user", ["alice", None])
@pytest.mark.parametrize("study", ["1.2.3", None])
def test_every_kind_of_record_has_the_shape(kind: AuditKind, user: str | None, study: str | None) -> None:
    for outcome in Outcome:
        patient = "P7" if study else None
        made = event(kind, user=user, study_uid=study, patient_id=patient, outcome=outcome)
        root = parsed(record_message(record(made), SOURCE))
        assert root.tag == "AuditMessage"
        assert valid(root, MESSAGE) == []
        assert root.find("EventIdentification").get("EventOutcomeIndicator") == str(int(outcome))  # type: ignore[union-attr]
        requestors = [p.get("UserID") for p in root.findall("ActiveParticipant") if p.get("UserIsRequestor") == "true"]
        assert requestors == [user or "node 1"]


def coded(root: ET.Element, path: str) -> list[tuple[str, str, str]]:
    return [(e.attrib["csd-code"], e.attrib["codeSystemName"], e.attrib["originalText"]) for e in root.iterfind(path)]


def test_events_are_those_of_cid_400_and_their_types_of_cid_401() -> None:
    known = {v: (m, cids) for values in concepts["DCM"].values() for v, (m, cids) in values.items()}
    seen = {}
    for kind in AuditKind:
        root = parsed(record_message(record(event(kind)), SOURCE))
        [(code, scheme, meaning)] = coded(root, "EventIdentification/EventID")
        assert (scheme, known[code][0]) == ("DCM", meaning)
        assert 400 in known[code][1]
        for value, type_scheme, type_meaning in coded(root, "EventIdentification/EventTypeCode"):
            if type_scheme == "DCM":
                assert known[value][0] == type_meaning
                assert 401 in known[value][1]
        seen[kind] = code
    assert seen[AuditKind.STARTED] == seen[AuditKind.STOPPED] == "110100"
    assert seen[AuditKind.REFUSED] == "110113"
    assert seen[AuditKind.EXPORT] == "110101"
    assert seen[AuditKind.INFERENCE] == seen[AuditKind.VIEW] == seen[AuditKind.REVIEW] == "110103"


def test_a_message_names_study_patient_objects_and_record() -> None:
    root = parsed(record_message(record(event(AuditKind.INFERENCE)), SOURCE))
    objects = {o.get("ParticipantObjectID"): o for o in root.findall("ParticipantObjectIdentification")}
    assert set(objects) == {"1.2.3", "P 7", "urn:airouter:audit:12"}
    study, patient, own = objects["1.2.3"], objects["P 7"], objects["urn:airouter:audit:12"]
    assert coded(study, "ParticipantObjectIDTypeCode") == [("110180", "DCM", "Study Instance UID")]
    assert (study.get("ParticipantObjectTypeCode"), study.get("ParticipantObjectTypeCodeRole")) == ("2", "3")
    assert (patient.get("ParticipantObjectTypeCode"), patient.get("ParticipantObjectTypeCodeRole")) == ("1", "1")
    assert coded(patient, "ParticipantObjectIDTypeCode") == [("2", "RFC-3881", "Patient Number")]
    classes = {c.get("UID"): c.get("NumberOfInstances") for c in study.iter("SOPClass")}
    assert classes == {"1.2.840.10008.5.1.4.1.1.88.34": "2", "1.2.840.10008.5.1.4.1.1.66.4": "1"}
    said = {
        d.attrib["type"]: base64.b64decode(d.attrib["value"]).decode()
        for d in [*study.iter("ParticipantObjectDetail"), *own.iter("ParticipantObjectDetail")]
    }
    assert said == {
        "job": "c" * 64,
        "model": f"nuclei 1.0 {'d' * 64}",
        "priority": "HIGH",
        "digest": "ab" * 32,
    }


def test_a_head_has_the_shape_and_can_be_read_back() -> None:
    made = head(b"k" * 32, 40, "cd" * 32, "2026-11-29T06:30:00.000000+00:00")
    root = parsed(head_message(made, SOURCE))
    assert valid(root, MESSAGE) == []
    said = {
        d.attrib["type"]: base64.b64decode(d.attrib["value"]).decode() for d in root.iter("ParticipantObjectDetail")
    }
    assert said == {"seq": "40", "digest": made.digest, "signature": made.signature}


@given(st.text(), st.text(min_size=1), st.text())
def test_whatever_a_user_is_called_the_message_stays_well_formed(user: str, patient: str, detail: str) -> None:
    made = event(AuditKind.REFUSED, user=user, patient_id=patient, detail={"path": detail})
    root = parsed(record_message(record(made), AuditSource(user or "n", "h", 1)))
    assert len(root.findall("ParticipantObjectIdentification")) == 3


def test_a_long_record_becomes_a_short_message() -> None:
    """Receivers of syslog cut off what is longer than 8 KB."""
    outputs = [{"role": "r", "sop_class": "1.2.3", "uid": f"2.25.{n}", "digest": "d" * 32} for n in range(5000)]
    sources = [{"uid": f"1.2.{n}", "digest": "d" * 32} for n in range(5000)]
    made = event(AuditKind.INFERENCE, detail={"outputs": outputs, "sources": sources, "reason": "x" * 100_000})
    assert len(record_message(record(made), SOURCE).encode()) < 8000
