import numpy as np
import pytest
from pydicom.sr.codedict import codes

from airouter.imaging import stain as stains
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
        ([stains.HEMATOXYLIN, stains.SPIRIT_SOLUBLE_EOSIN], "H&E"),
        ([stains.H_AND_E_METHOD], "H&E"),
        ([stains.HEMATOXYLIN, "DAB"], "H-DAB"),
        ([stains.HEMATOXYLIN, stains.IMMUNOHISTOCHEMISTRY], "H-DAB"),
        ([stains.HEMATOXYLIN], None),
        ([stains.WATER_SOLUBLE_EOSIN], None),
        ([stains.HEMATOXYLIN, stains.WATER_SOLUBLE_EOSIN, "DAB"], None),
        ([stains.HEMATOXYLIN, stains.IMMUNOHISTOCHEMISTRY, "Fast Red"], None),
        ([stains.HEMATOXYLIN, "DAB-like dye"], None),
        (["H&E"], None),
        ([], None),
    ],
    ids=str,
)
def test_only_combinations_without_doubt_are_recognised(named, expected):
    assert stain(substances(*named)) == expected


def test_a_further_stain_makes_it_another_stain():
    saffron = stains.Code(codes.SCT.SaffronStain.value, "SCT", "saffron stain")
    assert stain(substances(stains.HEMATOXYLIN, stains.WATER_SOLUBLE_EOSIN, saffron)) is None


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
        (stains.STAINING, codes.SCT.Staining),
        (stains.HEMATOXYLIN, codes.cid8112.HematoxylinStain),
        (stains.WATER_SOLUBLE_EOSIN, codes.cid8112.WaterSolubleEosinStain),
        (stains.SPIRIT_SOLUBLE_EOSIN, codes.cid8112.SpiritSolubleEosinStain),
        (stains.BLUE_SHADE_EOSIN, codes.cid8112.BlueShadeEosinStain),
        (stains.H_AND_E_METHOD, codes.cid8130.HematoxylinAndEosinStainMethod),
        (stains.IMMUNOHISTOCHEMISTRY, codes.cid8131.Immunohistochemistry),
        (stains.USING_SUBSTANCE, codes.SCT.UsingSubstance),
        (stains.PROCESSING_TYPE, codes.DCM.ProcessingType),
        (stains.PROCESSING_STEP_DESCRIPTION, codes.DCM.ProcessingStepDescription),
    ):
        assert (code.value, code.scheme) == (listed.value, listed.scheme_designator)


def test_a_real_slide_by_other_software():
    assert stain(read("sm/highdicom/sm_image.dcm")[0]) == "H&E"
    assert stain(read("sm/cmu1_pyramid/level_0.dcm")[0]) is None
