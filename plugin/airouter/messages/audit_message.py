"""Records of the audit trail as DICOM audit messages: the XML of PS3.15 A.5, which ATNA (ITI-20) uses as well.

The full record is in the database and in the JSON lines. A message says who did what to which study, and names the
record by its number and digest; lists are left out, so that it stays within the 8 KB that receivers of syslog take.
"""

import base64
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from xml.etree import ElementTree as ET

from airouter.domain import codes
from airouter.domain.audit import AuditKind, AuditRecord, Head
from airouter.domain.code import Code

# What XML 1.0 cannot hold.
_FORBIDDEN: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONGEST: Final = 300  # characters of one detail
_SERVER, _HOST = "4", "1"  # AuditSourceTypeCode: application server; NetworkAccessPointTypeCode: machine name
_PERSON, _SYSTEM = "1", "2"  # ParticipantObjectTypeCode
_PATIENT, _REPORT, _RESOURCE = "1", "3", "13"  # ParticipantObjectTypeCodeRole: security resource
# Of RFC 3881; PS3.15 A.5.1.2.4 lists them outside of DICOM's own terminology.
_PATIENT_NUMBER: Final = ("2", "RFC-3881", "Patient Number")
_URI: Final = ("12", "RFC-3881", "URI")


@dataclass(frozen=True, slots=True)
class AuditSource:
    """Who reports: the node's name, the host's, the number of the process, and whose the installation is."""

    node: str
    host: str
    process: int
    site: str = ""


@dataclass(frozen=True, slots=True)
class _Said:
    event: Code
    action: str
    type: Code


_ACCESS: Final = codes.INSTANCES_ACCESSED
_SAID: Final[Mapping[AuditKind, _Said]] = {
    AuditKind.STARTED: _Said(codes.APPLICATION_ACTIVITY, "E", codes.APPLICATION_START),
    AuditKind.STOPPED: _Said(codes.APPLICATION_ACTIVITY, "E", codes.APPLICATION_STOP),
    AuditKind.ROUTING: _Said(_ACCESS, "R", codes.AUDIT_ROUTING),
    AuditKind.INFERENCE: _Said(_ACCESS, "C", codes.AUDIT_INFERENCE),
    AuditKind.REQUEST: _Said(_ACCESS, "R", codes.AUDIT_REQUEST),
    AuditKind.CANCEL: _Said(_ACCESS, "U", codes.AUDIT_CANCEL),
    AuditKind.VIEW: _Said(_ACCESS, "R", codes.AUDIT_VIEW),
    AuditKind.REVIEW: _Said(_ACCESS, "U", codes.AUDIT_REVIEW),
    AuditKind.ASSIGNMENT: _Said(_ACCESS, "U", codes.AUDIT_ASSIGNMENT),
    AuditKind.PRIORITY: _Said(_ACCESS, "U", codes.AUDIT_PRIORITY),
    AuditKind.READ: _Said(_ACCESS, "U", codes.AUDIT_READ),
    AuditKind.RESCAN: _Said(_ACCESS, "U", codes.AUDIT_RESCAN),
    AuditKind.PHASE: _Said(codes.SECURITY_ALERT, "E", codes.SOFTWARE_CONFIGURATION),
    AuditKind.REFUSED: _Said(codes.SECURITY_ALERT, "E", codes.RESTRICTED_FUNCTION),
    AuditKind.EXPORT: _Said(codes.AUDIT_LOG_USED, "R", codes.AUDIT_LOG_USED),
}


def record_message(record: AuditRecord, source: AuditSource) -> str:
    """One record as an audit message."""
    content = record.content
    said = _SAID[AuditKind(content["kind"])]
    message = _begun(said, content["at"], int(content["outcome"]), content["user"], source)
    details = _details(content["detail"])
    if content["study"]:
        _study(message, content["study"], details, content["detail"].get("outputs") or ())
        details = {}
    if content["patient"]:
        _object(message, content["patient"], _PERSON, _PATIENT, _PATIENT_NUMBER, {})
    _object(
        message,
        f"urn:airouter:audit:{record.seq}",
        _SYSTEM,
        _RESOURCE,
        _URI,
        {"digest": record.digest, **details},
        name="Record of the audit trail",
    )
    return _text(message)


def head_message(head: Head, source: AuditSource) -> str:
    """Where the trail stands: whoever keeps this elsewhere sees when the end of the trail is cut off."""
    said = _SAID[AuditKind.EXPORT]
    message = _begun(said, head.at, 0, None, source)
    details = {"seq": str(head.seq), "digest": head.digest, "signature": head.signature}
    _object(message, "urn:airouter:audit", _SYSTEM, _RESOURCE, _URI, details, name="Security Audit Log")
    return _text(message)


def _begun(said: _Said, at: str, outcome: int, user: str | None, source: AuditSource) -> ET.Element:
    message = ET.Element("AuditMessage")
    event = _child(
        message,
        "EventIdentification",
        EventActionCode=said.action,
        EventDateTime=at,
        EventOutcomeIndicator=str(outcome),
    )
    _coded(event, "EventID", _triple(said.event))
    if said.type is not said.event:
        _coded(event, "EventTypeCode", _triple(said.type))
    if user is not None:
        _child(message, "ActiveParticipant", UserID=user, UserIsRequestor="true")
    process = _child(
        message,
        "ActiveParticipant",
        UserID=source.node,
        AlternativeUserID=str(source.process),
        UserName="Orthanc AI Router",
        UserIsRequestor="false" if user is not None else "true",
        NetworkAccessPointID=source.host,
        NetworkAccessPointTypeCode=_HOST,
    )
    _coded(process, "RoleIDCode", _triple(codes.APPLICATION))
    site = {"AuditEnterpriseSiteID": source.site} if source.site else {}
    reported = _child(message, "AuditSourceIdentification", AuditSourceID=source.node, **site)
    _child(reported, "AuditSourceTypeCode", **{"csd-code": _SERVER})
    return message


def _study(message: ET.Element, uid: str, details: Mapping[str, str], outputs: Any) -> None:
    study = _object(message, uid, _SYSTEM, _REPORT, _triple(codes.STUDY_INSTANCE_UID), details)
    classes = Counter(str(output["sop_class"]) for output in outputs)
    if classes:
        description = _child(study, "ParticipantObjectDescription")
        for sop_class, count in sorted(classes.items()):
            _child(description, "SOPClass", UID=sop_class, NumberOfInstances=str(count))


def _object(
    message: ET.Element,
    identifier: str,
    type_: str,
    role: str,
    kind: tuple[str, str, str],
    details: Mapping[str, str],
    name: str = "",
) -> ET.Element:
    found = _child(
        message,
        "ParticipantObjectIdentification",
        ParticipantObjectID=identifier,
        ParticipantObjectTypeCode=type_,
        ParticipantObjectTypeCodeRole=role,
    )
    _coded(found, "ParticipantObjectIDTypeCode", kind)
    # The schema asks for a name or a query; a patient's name is not in the trail.
    _child(found, "ParticipantObjectName").text = _clean(name)
    for key, value in details.items():
        encoded = base64.b64encode(_clean(value)[:_LONGEST].encode()).decode()
        _child(found, "ParticipantObjectDetail", type=key, value=encoded)
    return found


def _details(detail: Mapping[str, Any]) -> dict[str, str]:
    """What of the detail is one value; of a model its name, version and weights."""
    said = {key: str(value) for key, value in detail.items() if isinstance(value, str | int | float)}
    model = detail.get("model")
    if isinstance(model, Mapping):
        said["model"] = " ".join(str(model[key]) for key in ("name", "version", "sha256") if model.get(key))
    verdict = detail.get("verdict")
    if isinstance(verdict, Mapping):
        said["priority"] = str(verdict.get("priority"))
    return said


def _coded(parent: ET.Element, tag: str, code: tuple[str, str, str]) -> None:
    value, scheme, meaning = code
    _child(parent, tag, **{"csd-code": value, "codeSystemName": scheme, "originalText": meaning})


def _triple(code: Code) -> tuple[str, str, str]:
    return code.value, code.scheme, code.meaning


def _child(parent: ET.Element, tag: str, **attributes: str) -> ET.Element:
    return ET.SubElement(parent, tag, {name: _clean(value) for name, value in attributes.items()})


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("?", text)


def _text(message: ET.Element) -> str:
    return '<?xml version="1.0" encoding="UTF-8"?>' + ET.tostring(message, encoding="unicode")
