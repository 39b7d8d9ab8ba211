"""The images a model would be given of stored slides, photographs and volumes, read one by one when needed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from airouter.domain.finding import Ungradable
from airouter.domain.model import Fit, Model
from airouter.domain.study import ImageSet, Modality
from airouter.errors import NotQuantizable, PixelDataError, RouterError
from airouter.imaging.fundus import Fundus, unfit
from airouter.imaging.oct import OctVolume
from airouter.imaging.patches import PatchPlan
from airouter.imaging.reader import Images, open_images
from airouter.imaging.slide import Slide
from airouter.pipelines.tissue_region import tissue_region

Image = NDArray[np.uint8]
Picture = Callable[[], Image]
# As rich.progress.track: passes the items on and shows how many of `total` went by.
Track = Callable[[Iterable[Picture], int, str], Iterable[Picture]]


class Source(Protocol):
    """Where images come from: the part of `airouter.ports.Archive` that reading them needs, and what there is."""

    def image_sets(self) -> Sequence[ImageSet]: ...

    def header(self, instance: str) -> Dataset: ...

    def frames(self, instance: str, numbers: Sequence[int]) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Pictures:
    """`pictures`: all there are, each read when called; `sets`: how many slides or images they are of.

    `left_out`: why other slides or images gave none, each reason with how many.
    """

    pictures: tuple[Picture, ...]
    sets: int
    left_out: dict[str, int]


def pictures_for(model: Model, source: Source) -> Pictures:
    """Patches of the tissue at the model's spacing (fit: tile), or whole photographs and B-scans.

    They are what the pipelines feed the model with: same level, same resampling, same overlap. What the model does
    not read, be it of another modality, SOP class or stain, is left out.
    """
    found: list[Picture] = []
    left_out: dict[str, int] = {}
    sets = 0
    for images in source.image_sets():
        made = _of(model, source, images)
        if isinstance(made, str):
            left_out[made] = left_out.get(made, 0) + 1
        else:
            found += [partial(_named, images, picture) for picture in made]
            sets += 1
    return Pictures(tuple(found), sets, left_out)


def _named(images: ImageSet, picture: Picture) -> Image:
    """Of many files it must be said which one is damaged."""
    try:
        return picture()
    except PixelDataError as error:
        raise PixelDataError(f"{images.modality} image {images.instances[0].uid}: {error}") from error


def _of(model: Model, source: Source, images: ImageSet) -> list[Picture] | str:
    """The pictures of one slide or image, or why there are none."""
    reads = model.reads
    if images.modality is not reads.modality:
        return f"{images.modality} is not what the model reads ({reads.modality})"
    if reads.sop_classes and any(i.sop_class not in reads.sop_classes for i in images.instances):
        return "of another SOP class than the model reads"
    try:
        if images.modality is Modality.OP:  # opening one decodes it: not before it is needed
            refused = unfit(source.header(images.instances[0].id))
            return _why(refused) if refused else [partial(_photograph, source, images)]
        opened = _opened(source, images)
        if isinstance(opened, Slide):
            return _patches(model, opened)
    except RouterError as error:
        return str(error)
    if isinstance(opened, Ungradable):
        return _why(opened)
    if isinstance(opened, OctVolume):
        return [partial(opened.frame, number) for number in range(1, len(opened) + 1)]
    return f"{images.modality} holds no images"


def _opened(source: Source, images: ImageSet) -> Images | Ungradable:
    headers = [(instance, source.header(instance.id)) for instance in images.instances]
    return open_images(images.modality, headers, source.frames)


def _photograph(source: Source, images: ImageSet) -> Image:
    opened = _opened(source, images)
    if not isinstance(opened, Fundus):
        reason = opened.reason if isinstance(opened, Ungradable) else "it is no photograph"
        raise NotQuantizable(f"image {images.instances[0].uid}: {reason}")
    return opened.rgb


def _patches(model: Model, slide: Slide) -> list[Picture] | str:
    if model.input.fit is not Fit.TILE:
        return f"a slide is read by patches, the model has fit: {model.input.fit}"
    region = tissue_region(slide, model)
    if isinstance(region, Ungradable):
        return _why(region)
    return [partial(_patch, region.plan, number) for number in range(len(region.plan))]


def _why(outcome: Ungradable) -> str:
    return outcome.reason.removeprefix("not analysed because ")


def _patch(plan: PatchPlan, number: int) -> Image:
    return plan.read(number).pixels
