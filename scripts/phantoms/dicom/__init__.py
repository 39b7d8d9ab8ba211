"""Wraps arrays as the DICOM objects that scanners and cameras make: sources for tests, the demonstration and training.

The objects conform to their IODs (PS3.3), checked with dciodvfy, but for two things: OPT, whose IOD asks for the
concatenation attributes in one module and forbids them in another, and the parts of a concatenation, where dciodvfy
counts the frames of the whole.
With a `seed` every UID is derived from it and equal arguments give equal objects; without one UIDs are fresh.
"""

from phantoms.dicom.eye import OP8, OPT, fundus_instance, oct_instance
from phantoms.dicom.field import OPV, field_instance
from phantoms.dicom.parts import Uids
from phantoms.dicom.pixels import Image, Transfer
from phantoms.dicom.slide import WSI, Stain, slide_instances, staining_step

__all__ = [
    "OP8",
    "OPT",
    "OPV",
    "WSI",
    "Image",
    "Stain",
    "Transfer",
    "Uids",
    "field_instance",
    "fundus_instance",
    "oct_instance",
    "slide_instances",
    "staining_step",
]
