"""Whether an image set can be analysed now: pyramids and concatenations whole, labels and overviews left out."""

from dataclasses import dataclass, replace
from itertools import islice, pairwise

from airouter.domain.study import ImageSet, Instance, Modality

# PS3.3 C.8.12.4.1.1, Image Type value 3 of a whole slide image.
SLIDE_FLAVOURS_LEFT_OUT = frozenset({"LABEL", "OVERVIEW", "THUMBNAIL", "LOCALIZER"})


@dataclass(frozen=True, slots=True)
class Complete:
    """The image set with everything that is not to be analysed taken out."""

    images: ImageSet


@dataclass(frozen=True, slots=True)
class Incomplete:
    """More may come. `certain` says that something is known to be missing, not only that time must pass."""

    reason: str
    certain: bool


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is nothing in it to analyse, whatever else arrives."""

    reason: str


def volume_levels(images: ImageSet) -> tuple[Instance, ...]:
    """Instances of a slide that hold the specimen itself, not its label or overview."""
    return tuple(i for i in images.instances if not SLIDE_FLAVOURS_LEFT_OUT & {str(v) for v in i.all("ImageType")})


# s without an arrival after which a pyramid that looks whole is taken as whole: one level of one frame may follow
# another, and a slide that is analysed before its last level came would be analysed twice.
SETTLING_TIME = 1.0
_TOLD = 10  # missing parts that a reason names


def judge(images: ImageSet, *, quiet: bool, settled: bool = False) -> Complete | Incomplete | Nothing:
    """Judge an image set.

    `quiet`: no instance of its study came for the configured quiet time; `settled`: none for the settling time.
    OP, OPT and OPV are complete at once. A slide is complete when its concatenations are whole and either its pyramid
    reaches from a base level (Image Type value 4 NONE) to a level of one tile and has settled, or the study is quiet.
    Focal planes or optical paths that are instances of their own are not waited for: nothing announces them. What
    comes later makes the image set another one, which is judged and analysed again.
    """
    if images.modality is not Modality.SM:
        return Complete(images)
    levels = volume_levels(images)
    if not levels:
        # A label usually arrives before the levels: only quiet makes it final.
        reason = "holds no VOLUME image, only label, overview or thumbnail"
        return Nothing(reason) if quiet else Incomplete(reason, certain=False)
    missing = _missing_parts(levels)
    if missing:
        return Incomplete(missing, certain=True)
    if quiet or (settled and _whole_pyramid(levels)):
        return Complete(replace(images, instances=tuple(sorted(levels, key=lambda i: i.uid))))
    return Incomplete("waiting for further levels of the pyramid", certain=False)


def _missing_parts(levels: tuple[Instance, ...]) -> str | None:
    parts: dict[str, list[Instance]] = {}
    for level in levels:
        uid = level.first("ConcatenationUID")
        if uid is not None:
            parts.setdefault(str(uid), []).append(level)
    for members in parts.values():
        total = max((integer(m, "InConcatenationTotalNumber") for m in members), default=0)
        present = {integer(m, "InConcatenationNumber") for m in members}
        # In-concatenation Total Number is optional (type 3): without it, a gap below the highest part still shows.
        # Counted one by one: a header may claim any number of parts.
        missing = list(islice((n for n in range(1, max(total, *present) + 1) if n not in present), _TOLD + 1))
        if missing:
            told = ", ".join(map(str, missing[:_TOLD])) + (", ..." if len(missing) > _TOLD else "")
            return f"concatenation part {told} of {total or 'unknown'} has not arrived"
    return None


def integer(instance: Instance, keyword: str) -> int:
    """Value of an integer attribute; 0 where it is missing or, against the standard, not an integer."""
    value = instance.first(keyword)
    return value if isinstance(value, int) else 0


def _tiles(levels: tuple[Instance, ...]) -> list[int]:
    """Tiles of one plane of each image; the parts of a concatenation are one image."""
    frames: dict[str, int] = {}
    planes: dict[str, int] = {}
    for level in levels:
        image = str(level.first("ConcatenationUID") or level.uid)
        frames[image] = frames.get(image, 0) + (integer(level, "NumberOfFrames") or 1)
        focal, paths = integer(level, "TotalPixelMatrixFocalPlanes"), integer(level, "NumberOfOpticalPaths")
        planes[image] = max(1, focal) * max(1, paths)
    return [count // planes[image] for image, count in frames.items()]


def _whole_pyramid(levels: tuple[Instance, ...]) -> bool:
    """From a base level to a level of one tile in even steps: a missing middle level makes the steps uneven."""
    bases = [i for i in levels if "NONE" in map(str, i.all("ImageType")[3:4])]
    if not bases or min(_tiles(levels)) > 1:
        return False
    widths = sorted({integer(i, "TotalPixelMatrixColumns") for i in levels}, reverse=True)
    if widths[-1] <= 0 or len(widths) == 1:
        return False
    steps = [wide / narrow for wide, narrow in pairwise(widths)]
    return max(steps) < 4.5 and max(steps) / min(steps) < 1.1
