import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from airouter.domain.study import Attribute
from airouter.imaging.attributes import attributes
from phantoms import dicom

RGB = np.full((16, 16, 3), 200, np.uint8)


def test_numbers_are_numbers_names_are_text_and_sequences_are_nested():
    ds = dicom.slide_instances(RGB, 0.5, levels=1, tile=16, sparse=True)[0]
    made = attributes(ds)
    assert made["Rows"] == Attribute("US", (16,))
    assert made["NumberOfFrames"] == Attribute("IS", (1,))
    assert made["ImageType"] == Attribute("CS", ("ORIGINAL", "PRIMARY", "VOLUME", "NONE"))
    assert made["PatientName"] == Attribute("PN", ("Phantom^Slide",))
    assert type(made["PatientName"].values[0]) is str
    assert made["AccessionNumber"] == Attribute("SH", ())
    (shared,) = made["SharedFunctionalGroupsSequence"].values
    (measures,) = shared["PixelMeasuresSequence"].values
    assert measures["PixelSpacing"] == Attribute("DS", (0.0005, 0.0005))
    assert type(measures["PixelSpacing"].values[0]) is float


def test_pixels_bulk_values_per_frame_groups_and_private_attributes_are_left_out():
    ds = dicom.slide_instances(RGB, 0.5, levels=1, tile=16, sparse=True, offset_table="extended")[0]
    ds.private_block(0x0011, "PHANTOM", create=True).add_new(1, "LO", "x")
    made = attributes(ds)
    assert not made.keys() & {"PixelData", "PerFrameFunctionalGroupsSequence", "ExtendedOffsetTable"}
    assert "ICCProfile" not in made["OpticalPathSequence"].values[0]
    assert all(made)


def test_an_element_that_cannot_be_read_is_left_out_and_the_rest_stays():
    ds = pydicom.Dataset()
    ds.Modality = "SM"
    rows = Tag(0x00280010)
    ds[rows] = RawDataElement(rows, "US", 3, b"abc", 0, False, True)
    frames = Tag(0x00280008)
    ds[frames] = RawDataElement(frames, "IS", 4, b"many", 0, False, True)
    assert attributes(ds) == {"Modality": Attribute("CS", ("SM",))}
