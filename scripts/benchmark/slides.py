"""Slides of any size in seconds: a few hundred generated tiles, encoded once, laid out as tissue on glass.

What a reader does with a slide depends on how many tiles there are and how large they are when encoded, not on whether
two of them are alike. Lower levels are the same tiles made smaller, so that a tissue mask made of a low level finds the
tissue that the base level has. Files are written tile by tile: a slide of 32768 px takes no more memory than a small
one. Pixel data are kept in the cache folder and written with new UIDs whenever a further copy of the slide is wanted.
"""

import contextlib
import functools
import hashlib
import itertools
import json
import shutil
import struct
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pydicom
import simplejpeg
from numpy.typing import NDArray
from pydicom import Dataset
from scipy import ndimage

import airouter.imaging.slide
import phantoms.slide
from airouter.domain.finding import Ungradable
from airouter.domain.study import Instance
from airouter.imaging.frames import FrameIndex, read_frames
from airouter.imaging.slide import open_slide
from phantoms.dicom import Uids, slide_instances
from phantoms.dicom.parts import decimal

CACHE: Final = Path(__file__).resolve().parents[2] / ".cache" / "bench"
TILE: Final = 256  # px
SPACING_UM: Final = 0.5

_GENERATOR: Final = 1  # part of the cache's key: another number wherever other bytes come out
_PICTURE: Final = 2560  # side in pixels of the picture that tissue tiles are cut out of
_GLASS: Final = 8  # different tiles of glass
_COARSEST: Final = 512  # px; the pyramid ends at the first level not larger than this
_STEP: Final = 4  # from level to level
_BLOB_TILES: Final = 5.0  # how far the tissue's outline is smoothed, in tiles
_ITEM, _DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Spec:
    """A slide of side x side pixels: 256 px tiles, JPEG of `quality`, 0.5 um per pixel, `share` of the tiles tissue.

    `pyramid`: with further levels, each a quarter of the side of the one before; without, there is the base level only.
    """

    side: int
    share: float = 0.4
    quality: int = 80
    seed: int = 0
    pyramid: bool = True

    def __post_init__(self) -> None:
        if self.side < 2 * _COARSEST or self.side & (self.side - 1):
            raise ValueError(f"the side of a slide must be a power of two from {2 * _COARSEST} px, not {self.side}")

    @property
    def levels(self) -> tuple[int, ...]:
        """Side of each level in pixels, finest first."""
        sides = [self.side]
        while self.pyramid and sides[-1] > _COARSEST:
            sides.append(sides[-1] // _STEP)
        return tuple(sides)


@dataclass(frozen=True, slots=True)
class Slide:
    """A slide in the cache. `tissue`: which tiles of the base level are tissue."""

    spec: Spec
    folder: Path
    tissue: NDArray[np.bool_]

    def study_uid(self, number: int) -> str:
        """Study Instance UID of a copy."""
        return _Identity(self.spec, number).study

    def write(self, where: Path, number: int = 0) -> list[Path]:
        """DICOM files of copy `number`, one for each level, finest first. Copies differ in their UIDs and patient."""
        where.mkdir(parents=True, exist_ok=True)
        identity = _Identity(self.spec, number)
        files = []
        for level, header in enumerate(_headers(self, identity)):
            path = where / f"slide-{self.spec.side}-{number}-{level}.dcm"
            with path.open("wb") as out, self._pixels(level).open("rb") as pixels:
                pydicom.dcmwrite(out, header, enforce_file_format=True)
                shutil.copyfileobj(pixels, out, 1 << 20)
            files.append(path)
        return files

    def _pixels(self, level: int) -> Path:
        return self.folder / f"level-{level}.pixels"


def slide(spec: Spec, cache: Path) -> Slide:
    """The slide of that description, from the cache or made now."""
    key = hashlib.sha256(json.dumps([_GENERATOR, asdict(spec)], sort_keys=True).encode()).hexdigest()[:16]
    folder = cache / "slides" / f"{spec.side}-{key}"
    tissue = layout(spec)
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as scratch:
            made = Path(scratch) / "slide"
            made.mkdir()
            for level, side in enumerate(spec.levels):
                _write_pixels(made / f"level-{level}.pixels", _encoded(spec, tissue, side), (side // TILE) ** 2)
            made.rename(folder)
    return Slide(spec, folder, tissue)


def layout(spec: Spec) -> NDArray[np.bool_]:
    """Which tiles are tissue: the upper `share` of a smooth random field, whose rim is glass."""
    tiles = spec.side // TILE
    field = np.random.default_rng(spec.seed).standard_normal((tiles, tiles))
    field = ndimage.gaussian_filter(field, min(_BLOB_TILES, tiles / 8), mode="constant")
    field[[0, -1]] = field[:, [0, -1]] = -np.inf
    count = round(spec.share * tiles * tiles)
    chosen = np.argsort(field, axis=None)[::-1][:count]
    tissue = np.zeros(tiles * tiles, np.bool_)
    tissue[chosen] = True
    return tissue.reshape(tiles, tiles)


@functools.cache
def tissue_tiles() -> tuple[Image, ...]:
    """Different tiles of tissue, uint8 [256, 256, 3]: the inner tiles of a generated picture, in four directions."""
    picture = phantoms.slide.slide(_PICTURE, _PICTURE, SPACING_UM, nuclei_per_mm2=3000.0)
    places = [at for at in itertools.product(range(0, _PICTURE, TILE), repeat=2) if _inside(picture.tissue, *at)]
    cut = [picture.rgb[r : r + TILE, c : c + TILE] for r, c in places]
    return tuple(np.ascontiguousarray(np.rot90(tile, turns)) for turns in range(4) for tile in cut)


def _inside(tissue: NDArray[np.bool_], row: int, column: int) -> bool:
    return bool(tissue[row : row + TILE, column : column + TILE].all())


@functools.cache
def glass_tiles() -> tuple[Image, ...]:
    """Different tiles of glass: nearly white, with the noise of the camera."""
    noise = np.random.default_rng(0).normal(245.0, 1.5, (_GLASS, TILE, TILE, 1))
    return tuple(np.repeat(noise.clip(0, 255), 3, axis=3).astype(np.uint8))


@contextlib.contextmanager
def opened(files: Sequence[Path]) -> Iterator[airouter.imaging.slide.Slide]:
    """Open these files as the router does, frames read from them. Raises ValueError where the slide is unfit."""
    with contextlib.ExitStack() as stack:
        headers, indexes = [], {}
        for path in files:
            file = stack.enter_context(path.open("rb"))
            ds = pydicom.dcmread(file, stop_before_pixels=True)
            uids = ds.SOPInstanceUID, ds.SOPClassUID, ds.SeriesInstanceUID, ds.StudyInstanceUID
            headers.append((Instance(path.name, *uids, digest=""), ds))
            file.seek(0)
            indexes[path.name] = file.fileno(), FrameIndex.of(file)
        slide = open_slide(headers, lambda id, numbers: read_frames(*indexes[id], numbers))
        if isinstance(slide, Ungradable):
            raise ValueError(slide.reason)  # noqa: TRY004 - an outcome, not a wrong type
        yield slide


# --- pixel data ---


def _encoded(spec: Spec, tissue: NDArray[np.bool_], side: int) -> Iterator[bytes]:
    """The tiles of the level of that side, row by row."""
    pool = (*tissue_tiles(), *glass_tiles())
    which = _which(spec, tissue)
    across = spec.side // side  # tiles of the base level in one tile of this one
    small = [cv2.resize(tile, (TILE // across,) * 2, interpolation=cv2.INTER_AREA) for tile in pool]
    if across == 1:
        jpegs = [_jpeg(tile, spec.quality) for tile in pool]
        for number in which.flat:
            yield jpegs[number]
        return
    for row, column in itertools.product(range(0, len(which), across), repeat=2):
        block = which[row : row + across, column : column + across]
        yield _jpeg(np.vstack([np.hstack([small[n] for n in line]) for line in block]), spec.quality)


def _which(spec: Spec, tissue: NDArray[np.bool_]) -> NDArray[np.intp]:
    """For every tile of the base level its number among the tissue tiles, followed by those of glass."""
    random = np.random.default_rng([spec.seed, 1])
    kinds = len(tissue_tiles())
    return np.where(
        tissue, random.integers(0, kinds, tissue.shape), random.integers(kinds, kinds + _GLASS, tissue.shape)
    )


def _jpeg(tile: Image, quality: int) -> bytes:
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(tile), quality, "RGB", "422"))


def _write_pixels(path: Path, frames: Iterator[bytes], count: int) -> None:
    """The element Pixel Data with a Basic Offset Table (PS3.5 A.4), every frame one fragment."""
    with path.open("wb") as out:
        out.write(b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff" + _ITEM + struct.pack("<I", 4 * count))
        table = out.tell()
        out.write(bytes(4 * count))
        first, offsets = out.tell(), []
        for frame in frames:
            offsets.append(out.tell() - first)
            out.write(_ITEM + struct.pack("<I", len(frame) + len(frame) % 2) + frame + bytes(len(frame) % 2))
        out.write(_DELIMITER + bytes(4))
        if len(offsets) != count or out.tell() - first >= 1 << 32:
            raise ValueError(f"{len(offsets)} frames do not go with an offset table of {count}")
        out.seek(table)
        out.write(struct.pack(f"<{count}I", *offsets))


# --- headers ---


class _Identity:
    """UIDs of one copy of a slide."""

    def __init__(self, spec: Spec, number: int) -> None:
        uids = Uids(f"benchmark {_GENERATOR} {spec} {number}")
        self.study, self.series, self.frame_of_reference, self.pyramid = (uids() for _ in range(4))
        self.instances = [uids() for _ in spec.levels]
        self.patient_id = f"BENCH-{spec.side}-{number}"


def _headers(made: Slide, identity: _Identity) -> Sequence[Dataset]:
    """Each level's header without pixels: that of a phantom of one tile, with this slide's sizes."""
    spec, headers = made.spec, []
    blank = np.full((TILE, TILE, 3), 255, np.uint8)
    for level, side in enumerate(spec.levels):
        um = SPACING_UM * spec.side / side
        (ds,) = slide_instances(
            blank, um, levels=1, tile=TILE, patient_id=identity.patient_id, study_uid=identity.study,
            series_uid=identity.series, seed=0,
        )  # fmt: skip
        del ds.PixelData
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = identity.instances[level]
        ds.FrameOfReferenceUID, ds.PyramidUID = identity.frame_of_reference, identity.pyramid
        ds.InstanceNumber = level + 1
        kind = (
            ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"] if level == 0 else ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
        )
        ds.ImageType = kind
        ds.SharedFunctionalGroupsSequence[0].WholeSlideMicroscopyImageFrameTypeSequence[0].FrameType = kind
        ds.TotalPixelMatrixRows = ds.TotalPixelMatrixColumns = side
        ds.NumberOfFrames = (side // TILE) ** 2
        ds.ImagedVolumeWidth = ds.ImagedVolumeHeight = side * um / 1000.0
        encoded = made.folder.joinpath(f"level-{level}.pixels").stat().st_size
        ds.LossyImageCompressionRatio = decimal(round(3 * side * side / encoded, 2))
        headers.append(ds)
    return headers
