"""Wraps arrays as the DICOM objects that scanners and cameras make: sources for tests, the demonstration and training.

The objects conform to their IODs (PS3.3), checked with dciodvfy, but for two things: OPT, whose IOD asks for the
concatenation attributes in one module and forbids them in another, and the parts of a concatenation, where dciodvfy
counts the frames of the whole.
With a `seed` every UID is derived from it and equal arguments give equal objects; without one UIDs are fresh.
"""

from phantoms.dicom.eye import (
    BSCAN_VOLUME_ANALYSIS,
    EN_FACE,
    MONTAGE,
    OP8,
    OPT,
    WIDE_FIELD_3D,
    WIDE_FIELD_STEREOGRAPHIC,
    derived_instance,
    fundus_instance,
    oct_instance,
)
from phantoms.dicom.field import OPV, field_instance
from phantoms.dicom.parts import Uids
from phantoms.dicom.pixels import Image, Transfer
from phantoms.dicom.slide import WSI, Stain, slide_instances, staining_step

__all__ = [
    "BSCAN_VOLUME_ANALYSIS",
    "EN_FACE",
    "MONTAGE",
    "OP8",
    "OPT",
    "OPV",
    "WIDE_FIELD_3D",
    "WIDE_FIELD_STEREOGRAPHIC",
    "WSI",
    "Image",
    "Stain",
    "Transfer",
    "Uids",
    "derived_instance",
    "field_instance",
    "fundus_instance",
    "oct_instance",
    "slide_instances",
    "staining_step",
]
