"""Who made an object: the router as equipment, the model as algorithm, and the status in words.

The General Equipment attributes name the router; the model stands in Contributing Equipment (IHE AIR), in the algorithm
identification of segments and annotation groups, and in TID 4019 of every measurement group.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import highdicom as hd
from pydicom.sr.coding import Code as DicomCode

from airouter import __version__
from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Result
from airouter.domain.job import Job
from airouter.domain.model import HeadKind, Model

MANUFACTURER = "Orthanc AI Router project"
MODEL_NAME = "Orthanc AI Router"
SERIAL_NUMBER = f"orthanc-ai-router-{__version__}"
STATUS = "[UNVERIFIED, not for diagnosis]"
CONTENT_QUALIFICATION = "RESEARCH"
CHARACTER_SET = "ISO_IR 192"

# Namespace of device UIDs; an arbitrary constant, never to be changed.
_DEVICES = uuid.UUID("b5f0a3c1-3a44-4c58-8a35-2c5d1b4d1c6e")
_LO = 64  # characters of a Long String


def _uid(name: str) -> str:
    return f"2.25.{uuid.uuid5(_DEVICES, name).int}"


ROUTER_UID = _uid(SERIAL_NUMBER)


def device_uid(model: Model) -> str:
    """Device UID of a model: another one as soon as a byte of the weights changes (IHE AIR)."""
    return _uid(model.sha256)


def code(concept: Code) -> DicomCode:
    """One of our codes as pydicom and highdicom want it."""
    return DicomCode(concept.value, concept.scheme, concept.meaning)


def concept(code_: Code) -> hd.sr.CodedConcept:
    """The same as an item of a code sequence."""
    return hd.sr.CodedConcept(code_.value, code_.scheme, code_.meaning)


def clip(text: str, length: int = _LO) -> str:
    """Cut to what a string VR allows; backslashes separate values in DICOM and are replaced."""
    return text.replace("\\", "/")[:length].rstrip()


@dataclass(frozen=True)
class Identity:
    """What every object of one job says about its origin. `now` is when the content was made."""

    job: Job
    model: Model
    result: Result
    now: datetime
    companions: Mapping[str, Model] = field(default_factory=dict)  # by role

    def series_description(self, label: str) -> str:
        """What is shown in lists: label, model, then the status in words, which is never cut off."""
        room = _LO - len(STATUS) - 1
        text = f"AI {label} {self.model.name} {self.model.version}"
        return f"{clip(text if len(text) <= room else f'AI {label}', room)} {STATUS}"

    def common(self, label: str) -> dict[str, Any]:
        """Keyword arguments every highdicom class takes."""
        return {
            "instance_number": 1,
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": MODEL_NAME,
            "software_versions": __version__,
            "device_serial_number": SERIAL_NUMBER,
            "series_description": self.series_description(label),
            "content_qualification": CONTENT_QUALIFICATION,
            "content_date": self.now.date(),
            "content_time": self.now.time().replace(microsecond=0),
            "specific_character_set": CHARACTER_SET,
            "contributing_equipment": self._contributing(),
        }

    def parameters(self) -> list[str]:
        """Everything that decided the result, one `name=value` each, the digest of the weights first."""
        weights = {} if self.model.head.kind is HeadKind.RULES else {"onnx_sha256": self.model.sha256}
        fixed = weights | {
            "pipeline": f"{self.job.pipeline} {self.job.pipeline_version}",
            "execution_provider": self.result.execution_provider or "unknown",
        }
        fixed |= {
            f"companion {role}": f"{each.name} {each.version}, onnx_sha256 {each.sha256}"
            for role, each in sorted(self.companions.items())
        }
        given = {**self.model.parameters, **self.job.parameters}
        return [f"{name}={value}" for name, value in {**fixed, **dict(sorted(given.items()))}.items()]

    def algorithm(self) -> hd.AlgorithmIdentificationSequence:
        """Algorithm Identification Sequence of segments and annotation groups."""
        return hd.AlgorithmIdentificationSequence(
            name=clip(self.model.name),
            version=clip(self.model.version),
            family=code(codes.ARTIFICIAL_INTELLIGENCE),
            source=clip(self.model.manufacturer) or None,
            parameters=dict(item.split("=", 1) for item in self.parameters()),
        )

    def report_algorithm(self) -> hd.sr.AlgorithmIdentification:
        """TID 4019 of a measurement group."""
        return hd.sr.AlgorithmIdentification(self.model.name, self.model.version, parameters=self.parameters())

    def observer(self) -> hd.sr.ObserverContext:
        """TID 1004: the router observed this, no person did."""
        return hd.sr.ObserverContext(
            observer_type=hd.sr.CodedConcept("121007", "DCM", "Device"),
            observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
                uid=ROUTER_UID,
                name=MODEL_NAME,
                manufacturer_name=MANUFACTURER,
                model_name=MODEL_NAME,
                serial_number=SERIAL_NUMBER,
            ),
        )

    def _contributing(self) -> list[hd.ContributingEquipment]:
        """One item for each algorithm (IHE AIR): the model, then its companions."""
        return [_equipment(each) for each in (self.model, *(model for _, model in sorted(self.companions.items())))]


def _described(model: Model) -> str:
    if model.head.kind is HeadKind.RULES:
        return "Rules of the router, no model"
    return f"ONNX model, SHA-256 {model.sha256}"


def _equipment(model: Model) -> hd.ContributingEquipment:
    item = hd.ContributingEquipment(
        manufacturer=clip(model.manufacturer) or "unknown",
        purpose_of_reference=code(codes.PROCESSING_EQUIPMENT),
        manufacturer_model_name=clip(model.name),
        software_versions=clip(model.version),
        contribution_description=clip(_described(model), 1024),
    )
    item.DeviceUID = device_uid(model)
    return item
