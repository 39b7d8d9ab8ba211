"""Whether a slide's header says that the specimen is a lymph node."""

import pytest
from pydicom.dataset import Dataset

from airouter.imaging.specimen import lymph_node


def header(*specimens):
    ds = Dataset()
    ds.SpecimenDescriptionSequence = []
    for coded in specimens:
        specimen = Dataset()
        if coded is not None:
            specimen.PrimaryAnatomicStructureSequence = [_code(*each) for each in coded]
        ds.SpecimenDescriptionSequence.append(specimen)
    return ds


def _code(value, scheme):
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, scheme, "any"
    return ds


NODE, AXILLARY, BREAST = ("59441001", "SCT"), ("68171009", "SCT"), ("76752008", "SCT")


@pytest.mark.parametrize(
    ("specimens", "answer"),
    [
        ([[NODE]], True),
        ([[AXILLARY]], True),
        ([[NODE], [AXILLARY]], True),
        ([[("T-C4000", "SRT")]], True),  # the code of older writers
        ([[BREAST]], False),
        ([[NODE], [BREAST]], None),  # which of them is which is not said
        ([[NODE], None], None),
        ([None], None),
        ([[]], None),
        ([], None),
        ([[("59441001", "99OTHER")]], False),
    ],
)
def test_lymph_nodes_are_told_by_their_code(specimens, answer):
    assert lymph_node(header(*specimens)) is answer


def test_a_header_without_specimens_says_nothing():
    assert lymph_node(Dataset()) is None
