"""Small generated patients for the end-to-end tests, each in a study of its own."""

from pydicom import Dataset

from phantoms.dicom import fundus_instance, oct_instance, slide_instances
from phantoms.fundus import fundus
from phantoms.oct import volume
from phantoms.slide import SlidePhantom, slide


def stained_slide(side: int = 768, seed: int = 3, **options: object) -> tuple[SlidePhantom, list[Dataset]]:
    """An H-DAB slide with 30 % positive nuclei, and its truth."""
    phantom = slide(side, side, 0.5, stain="H-DAB", positive_fraction=0.3, seed=seed)
    arguments: dict[str, object] = {"stain": "H-DAB", **options}
    return phantom, slide_instances(phantom.rgb, phantom.spacing_um, **arguments)  # type: ignore[arg-type]


def macula(bscans: int = 7, slice_um: float = 200.0) -> Dataset:
    """An OCT volume of a right eye that covers the central subfield."""
    phantom = volume(bscans, 496, 384, 3.9, 15.6, slice_um, "R", seed=7)
    return oct_instance(phantom.frames, axial_um=3.9, lateral_um=15.6, slice_um=slice_um, laterality="R")


def photograph(quality: str | None = None, **options: object) -> Dataset:
    """A fundus photograph of a right eye."""
    arguments: dict[str, object] = {"laterality": "R", **options}
    return fundus_instance(fundus(512, "R", seed=5, quality=quality).rgb, **arguments)  # type: ignore[arg-type]
