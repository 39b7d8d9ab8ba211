"""A visual field by static perimetry: what was tested on which eye. Its points are not analysed yet."""

from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from airouter.domain.code import Code
from airouter.domain.study import Instance, Laterality
from airouter.imaging.header import first_item, laterality


@dataclass(frozen=True, slots=True, eq=False)
class VisualField:
    """`pattern`: the test pattern (CID 4250, e.g. 24-2), None where it is not coded; `points`: how many were tested."""

    instance_uid: str
    instance_id: str
    laterality: Laterality | None
    pattern: Code | None
    points: int
    header: Dataset = field(repr=False)


def open_field(instance: Instance, header: Dataset) -> VisualField:
    """Read the header."""
    code = first_item(header, "PerformedProtocolCodeSequence")
    values = [str(code.get(k) or "") for k in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")] if code else []
    return VisualField(
        instance_uid=instance.uid,
        instance_id=instance.id,
        laterality=laterality(header),
        pattern=Code(*values) if values and all(values) else None,
        points=len(header.get("VisualFieldTestPointSequence") or []),
        header=header,
    )
