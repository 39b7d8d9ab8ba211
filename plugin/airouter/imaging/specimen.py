"""What a slide's header says its specimens are (PS3.3 C.7.6.22)."""

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as dictionary
from pydicom.sr.coding import Code


def anatomy(header: Dataset) -> list[list[Code]]:
    """For each specimen on the slide the codes of Primary Anatomic Structure, none where it is not said."""
    specimens = header.get("SpecimenDescriptionSequence") or []
    return [
        [
            Code(str(item.get("CodeValue") or ""), str(item.get("CodingSchemeDesignator") or ""), "")
            for item in specimen.get("PrimaryAnatomicStructureSequence") or []
        ]
        for specimen in specimens
    ]


def lymph_node(header: Dataset) -> bool | None:
    """Whether the specimens of a slide are lymph nodes: coded by CID 7600, whose concepts are all lymph nodes.

    None where the header does not say it of every specimen, or says it of some and not of others.
    """
    specimens = anatomy(header)
    if not specimens or not all(specimens):
        return None
    nodes = tuple(dictionary.cid7600.concepts.values())
    said = {any(code == node for node in nodes) for codes in specimens for code in codes}
    return said.pop() if len(said) == 1 else None
