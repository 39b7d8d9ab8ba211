"""Which stain a slide says it has: from its codes, never from its colours.

The staining steps of TID 8001 with TID 8003 in Specimen Preparation Sequence (PS3.16) name the substances used. Only
combinations that leave no doubt are recognised; with a further substance (saffron, a second chromogen) or without a
code the stain is unknown, and a model that asks for one is not run.
"""

from collections.abc import Iterator
from typing import Final

from pydicom.dataset import Dataset

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.imaging.header import is_code

# CID 8112 has no code for the chromogen; TID 8003 allows text for a substance.
DAB_TEXT: Final = "3,3'-Diaminobenzidine"

H_AND_E: Final = "H&E"
H_DAB: Final = "H-DAB"

_KNOWN: Final = {
    codes.HEMATOXYLIN: "hematoxylin",
    codes.WATER_SOLUBLE_EOSIN: "eosin",
    codes.SPIRIT_SOLUBLE_EOSIN: "eosin",
    codes.BLUE_SHADE_EOSIN: "eosin",
    codes.H_AND_E_METHOD: "h&e",
    codes.IMMUNOHISTOCHEMISTRY: "immunohistochemistry",
}
_DAB_NAMES: Final = frozenset({"dab", "diaminobenzidine", "3,3'-diaminobenzidine", "3,3′-diaminobenzidine"})
_STAINS: Final = {
    frozenset({"hematoxylin", "eosin"}): H_AND_E,
    frozenset({"h&e"}): H_AND_E,
    frozenset({"h&e", "hematoxylin", "eosin"}): H_AND_E,
    frozenset({"hematoxylin", "dab"}): H_DAB,
    frozenset({"hematoxylin", "immunohistochemistry"}): H_DAB,
    frozenset({"hematoxylin", "immunohistochemistry", "dab"}): H_DAB,
}


def stain(header: Dataset) -> str | None:
    """ "H&E" or "H-DAB", None where the header does not say it beyond doubt or its specimens differ.

    H-DAB is haematoxylin with either the chromogen named or immunohistochemistry as the method and no other substance.
    """
    specimens = header.get("SpecimenDescriptionSequence") or []
    found = {_STAINS.get(frozenset(_substances(specimen))) for specimen in specimens}
    return found.pop() if len(found) == 1 else None


def _substances(specimen: Dataset) -> Iterator[str]:
    for step in specimen.get("SpecimenPreparationSequence") or []:
        items = step.get("SpecimenPreparationStepContentItemSequence") or []
        if not any(_named(item, codes.PROCESSING_TYPE) and _coded(item) == codes.STAINING for item in items):
            continue
        for item in items:
            if _named(item, codes.USING_SUBSTANCE):
                yield _substance(item)
            elif _named(item, codes.PROCESSING_STEP_DESCRIPTION):
                name = _KNOWN.get(_coded(item) or codes.STAINING)
                if name:  # another description says nothing of substances
                    yield name


def _substance(item: Dataset) -> str:
    """One of the known substances, or a name that no combination contains."""
    code = _coded(item)
    if code is not None:
        return _KNOWN.get(code, "other")
    return "dab" if str(item.get("TextValue", "")).strip().lower() in _DAB_NAMES else "other"


def _named(item: Dataset, concept: Code) -> bool:
    names = item.get("ConceptNameCodeSequence") or []
    return len(names) == 1 and is_code(names[0], concept)


def _coded(item: Dataset) -> Code | None:
    """The item's value: one of the codes known here, or any other as it stands; None where it is not coded."""
    values = item.get("ConceptCodeSequence") or []
    if len(values) != 1:
        return None
    for code in (codes.STAINING, *_KNOWN):
        if is_code(values[0], code):
            return code
    value = str(values[0].get("CodeValue") or "?")
    return Code(value, str(values[0].get("CodingSchemeDesignator") or "?"), "other")
