"""The person who reviewed: as observer of a document, and as who verified it."""

from dataclasses import dataclass
from datetime import datetime

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

from airouter.domain import codes
from airouter.errors import EvidenceError
from airouter.evidence.identity import clip, concept

_NOT_STATED = "not stated"  # Verifying Organization is type 1


@dataclass(frozen=True, slots=True)
class Reader:
    """Raises EvidenceError without a name: the machine reviews nothing. `name` as DICOM writes it: family^given."""

    name: str
    organization: str = ""

    def __post_init__(self) -> None:
        if not self.name.replace("^", "").replace("=", "").strip():
            raise EvidenceError("only a named person reviews")

    @property
    def spoken(self) -> str:
        """The name for people."""
        return " ".join(self.name.split("=")[0].replace("^", " ").split())

    @property
    def _written(self) -> str:
        return clip(self.name)

    def context(self) -> hd.sr.ObserverContext:
        """TID 1003. A name of one part ends with a caret, which says that it is meant so."""
        name = self._written if "^" in self._written else f"{self._written}^"
        return hd.sr.ObserverContext(
            observer_type=concept(codes.PERSON),
            observer_identifying_attributes=hd.sr.PersonObserverIdentifyingAttributes(
                name=PersonName(name), organization_name=clip(self.organization) or None
            ),
        )

    def verifying(self, now: datetime) -> Dataset:
        """An item of Verifying Observer Sequence; the identification code is empty, as nothing here gives one out."""
        item = Dataset()
        item.VerifyingOrganization = clip(self.organization) or _NOT_STATED
        item.VerificationDateTime = f"{now:%Y%m%d%H%M%S}" + (f"{now:%z}" if now.tzinfo else "")
        item.VerifyingObserverName = self._written
        item.VerifyingObserverIdentificationCodeSequence = []
        return item
