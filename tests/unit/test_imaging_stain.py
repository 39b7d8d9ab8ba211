import numpy as np
import pytest
from pydicom.sr.codedict import codes as standard

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.imaging.stain import stain
from phantoms import dicom
from tests.images import read

WHITE = np.full((8, 8, 3), 255, np.uint8)


def header(made):
    return dicom.slide_instances(WHITE, 0.5, levels=1, tile=8, stain=made)[0]


def substances(*values):
    """A header whose staining step names these substances, codes or text."""
    ds = header("H&E")
    step = ds.SpecimenDescriptionSequence[0].SpecimenPreparationSequence[0]
    items = step.SpecimenPreparationStepContentItemSequence
    del items[2:]
    for value in values:
        item = dicom.staining_step("H&E").SpecimenPreparationStepContentItemSequence[2]
        if isinstance(value, str):
            item.ValueType, item.TextValue = "TEXT", value
            del item.ConceptCodeSequence
        else:
            code = item.ConceptCodeSequence[0]
            code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value.value, value.scheme, "any"
        items.append(item)
    return ds


@pytest.mark.parametrize("made", ["H&E", "H-DAB", None])
def test_the_stain_is_what_the_codes_say(made):
    assert stain(header(made)) == made


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ([codes.HEMATOXYLIN, codes.SPIRIT_SOLUBLE_EOSIN], "H&E"),
        ([codes.H_AND_E_METHOD], "H&E"),
        ([codes.HEMATOXYLIN, "DAB"], "H-DAB"),
        ([codes.HEMATOXYLIN, codes.IMMUNOHISTOCHEMISTRY], "H-DAB"),
        ([codes.HEMATOXYLIN], None),
        ([codes.WATER_SOLUBLE_EOSIN], None),
        ([codes.HEMATOXYLIN, codes.WATER_SOLUBLE_EOSIN, "DAB"], None),
        ([codes.HEMATOXYLIN, codes.IMMUNOHISTOCHEMISTRY, "Fast Red"], None),
        ([codes.HEMATOXYLIN, "DAB-like dye"], None),
        (["H&E"], None),
        ([], None),
    ],
    ids=str,
)
def test_only_combinations_without_doubt_are_recognised(named, expected):
    assert stain(substances(*named)) == expected


def test_a_further_stain_makes_it_another_stain():
    saffron = Code(standard.SCT.SaffronStain.value, "SCT", "saffron stain")
    assert stain(substances(codes.HEMATOXYLIN, codes.WATER_SOLUBLE_EOSIN, saffron)) is None


def test_a_substance_of_another_processing_step_is_no_stain():
    ds = header("H&E")
    items = ds.SpecimenDescriptionSequence[0].SpecimenPreparationSequence[0].SpecimenPreparationStepContentItemSequence
    items[1].ConceptCodeSequence[0].CodeValue = "17636008"  # specimen collection
    assert stain(ds) is None


def test_specimens_that_differ_leave_the_stain_unknown():
    ds = header("H&E")
    ds.SpecimenDescriptionSequence.append(header("H-DAB").SpecimenDescriptionSequence[0])
    assert stain(ds) is None
    ds.SpecimenDescriptionSequence = []
    assert stain(ds) is None
    del ds.SpecimenDescriptionSequence
    assert stain(ds) is None


def test_codes_are_those_of_the_standard():
    for code, listed in (
        (codes.STAINING, standard.SCT.Staining),
        (codes.HEMATOXYLIN, standard.cid8112.HematoxylinStain),
        (codes.WATER_SOLUBLE_EOSIN, standard.cid8112.WaterSolubleEosinStain),
        (codes.SPIRIT_SOLUBLE_EOSIN, standard.cid8112.SpiritSolubleEosinStain),
        (codes.BLUE_SHADE_EOSIN, standard.cid8112.BlueShadeEosinStain),
        (codes.H_AND_E_METHOD, standard.cid8130.HematoxylinAndEosinStainMethod),
        (codes.IMMUNOHISTOCHEMISTRY, standard.cid8131.Immunohistochemistry),
        (codes.USING_SUBSTANCE, standard.SCT.UsingSubstance),
        (codes.PROCESSING_TYPE, standard.DCM.ProcessingType),
        (codes.PROCESSING_STEP_DESCRIPTION, standard.DCM.ProcessingStepDescription),
    ):
        assert (code.value, code.scheme) == (listed.value, listed.scheme_designator)


def test_a_real_slide_by_other_software():
    assert stain(read("sm/highdicom/sm_image.dcm")[0]) == "H&E"
    assert stain(read("sm/cmu1_pyramid/level_0.dcm")[0]) is None
