"""A slide in a scanner's own format becomes DICOM files: the program of a process of its own, `python -m`.

Foreign parsers of foreign files run here and nowhere else: what makes them crash, hang or swell ends this process and
neither Orthanc nor the command. It reads one request, a JSON object in one line, from standard input, and writes its
answer as the last line of standard output. It knows no password and no token; when standard input closes, whoever
asked is gone, and it ends.

Tiles that are JPEG or JPEG 2000 already are kept bit for bit where the converter can (Aperio, Hamamatsu, Philips,
3DHISTECH and OME TIFF); all others are encoded as JPEG of quality 95 without subsampling of colour.
"""

import contextlib
import datetime
import errno
import json
import os
import shutil
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

import pydicom
from openslide import OpenSlide, OpenSlideError
from opentile import OpenTile
from pydicom.dataset import Dataset
from tifffile import TiffFile, TiffFileError
from wsidicom.codec import JpegSettings
from wsidicom.codec.settings import Subsampling
from wsidicom.geometry import SizeMm
from wsidicom.metadata import Image, Pyramid
from wsidicomizer import WsiDicomizer
from wsidicomizer.metadata import WsiDicomizerMetadata
from wsidicomizer.wsidicomizer import SourceIdentifier

from airouter.adapters.sidecar import Description
from airouter.adapters.slide_file import companions, digest
from airouter.adapters.slide_header import describe
from airouter.errors import NoRoom, RouterError, SlideError, place
from airouter.imaging.header import pixel_spacing_um

_PIXELS: Final = 1 << 38  # of the finest level: 500 000 x 500 000
_BELIEVED_UM: Final = (0.02, 10.0)  # a spacing from the file; 72, 96 or 300 dots per inch is a printer's
_SAME: Final = 0.01  # by which two spacings of one slide may differ
_SINGLE_TILE: Final = 1024  # pixels; a level of this size needs no coarser one
_COARSE: Final = 8192  # pixels: a pyramid that ends with a larger level is completed
_QUALITY: Final = 95
_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_COPY: Final = 1 << 20
_PIXEL_DATA: Final = b"\xe0\x7f\x10\x00"  # the tag, little endian


def convert(
    file: Path,
    folder: Path,
    description: Description,
    *,
    with_label: bool = False,
    with_overview: bool = False,
) -> dict[str, Any]:
    """Write the slide's levels to `folder`, finest first, and say what they are.

    The answer: sha256 (of the file), files (names in `folder`), spacing_um, spacing_given, kept (whether tiles were
    kept), left_out.
    Raises SlideError for a damaged file, an unknown format or no spacing; NoRoom where the disk is too small.
    """
    found = companions(file)
    size = file.stat().st_size + sum(part.stat().st_size for part in found)
    if shutil.disk_usage(folder).free < 2 * size + (64 << 20):
        raise NoRoom(f"there is no space for the temporary files: {2 * size / 1e6:.0f} MB are needed")
    levels, spacing, associated, sized = _look(file, description)
    _check_whole(file)
    keeps = _keeps_tiles(file)
    user = None
    if description.spacing_um is not None:
        mm = description.spacing_um / 1000.0
        user = WsiDicomizerMetadata(pyramid=Pyramid(Image(pixel_spacing=SizeMm(mm, mm)), []))
    coarsest = max(levels[-1])
    raw = folder / "raw"
    try:
        made = WsiDicomizer.convert(
            file,
            raw,
            metadata=user,
            tile_size=512,
            add_missing_levels=coarsest > (_SINGLE_TILE if len(levels) == 1 else _COARSE),
            include_label=with_label,
            include_overview=with_overview,
            include_thumbnail=False,
            workers=1,
            encoding=JpegSettings(quality=_QUALITY, subsampling=Subsampling.R444),
            preferred_source=SourceIdentifier.OPENTILE if keeps else SourceIdentifier.OPENSLIDE,
        )
        sha256 = digest(file)
        names = _finish(made, folder, description, sha256, spacing, sized)
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise NoRoom("the disk of the temporary files is full") from error
        raise SlideError(f"the file cannot be read: {error.strerror or type(error).__name__}") from error
    except RouterError:
        raise
    except Exception as error:
        # Foreign parsers raise whatever they like. What they say may quote the file; the kind of it does not.
        reason = f"the file is damaged, or of a kind that cannot be converted: {type(error).__name__} at {place(error)}"
        raise SlideError(reason) from error
    left_out = [name for name, wanted in (("label", with_label), ("macro", with_overview)) if not wanted]
    return {
        "sha256": sha256,
        "files": names,
        "spacing_um": spacing,
        "spacing_given": description.spacing_um is not None,
        "kept": keeps,
        "left_out": sorted(associated & {*left_out, "thumbnail"}),
    }


def _look(file: Path, description: Description) -> tuple[list[tuple[int, int]], float, set[str], datetime.datetime]:
    """Sizes of the levels, spacing in um, names of associated images, and when the file was last written."""
    try:
        if OpenSlide.detect_format(file) is None:
            raise SlideError("the file is of no format that OpenSlide reads")
        with OpenSlide(file) as slide:
            levels = [(int(columns), int(rows)) for columns, rows in slide.level_dimensions]
            said = [slide.properties.get(f"openslide.mpp-{axis}") for axis in "xy"]
            associated = set(slide.associated_images)
    except (OpenSlideError, OSError) as error:
        raise SlideError("the file is damaged: OpenSlide cannot open it") from error
    if levels[0][0] * levels[0][1] > _PIXELS:
        raise SlideError("the slide is larger than 500 000 x 500 000 pixels")
    spacing = description.spacing_um
    if spacing is None:
        try:
            across, down = (float(text or "nan") for text in said)
        except ValueError:
            across = down = float("nan")
        if not all(_BELIEVED_UM[0] <= um <= _BELIEVED_UM[1] for um in (across, down)):
            raise SlideError(
                "the file does not say how far its pixels lie apart; give spacing_um (--spacing), in micrometres"
            )
        spacing = across
    return levels, spacing, associated, datetime.datetime.fromtimestamp(file.stat().st_mtime)


def _check_whole(file: Path) -> None:
    """That every tile of a TIFF lies inside the file: tiles are kept undecoded, and nobody else would notice."""
    try:
        with TiffFile(file) as tiff:
            end = max((at + n for page in tiff.pages for at, n in zip(*_segments(page), strict=True)), default=0)
    except (TiffFileError, OSError, ValueError, struct.error):
        return  # no TIFF; OpenSlide has opened it
    if end > file.stat().st_size:
        raise SlideError(f"the file is cut short: {end - file.stat().st_size} bytes are missing")


def _segments(page: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return page.dataoffsets, page.databytecounts


def _keeps_tiles(file: Path) -> bool:
    """Whether the converter reads the encoded tiles themselves. It cannot where an SVS has no spacing of its own."""
    if OpenTile.detect_format(file) is None:
        return False
    try:
        with OpenTile.open(file) as tiler:
            return len(tiler.levels) > 0
    except Exception:  # noqa: BLE001 - a foreign parser; OpenSlide opened the file
        return False


def _finish(
    made: list[str], folder: Path, description: Description, sha256: str, spacing: float, written: datetime.datetime
) -> list[str]:
    """Write each converted file again with its whole header, finest level first, and remove the former at once."""

    def order(path: str) -> tuple[bool, int]:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        return str(header.ImageType[2]) != "VOLUME", -int(header.TotalPixelMatrixColumns)

    names = []
    for number, path in enumerate(sorted(made, key=order), start=1):
        with Path(path).open("rb") as source:
            header = pydicom.dcmread(source, stop_before_pixels=True)
            at = source.tell()
            if source.read(4) != _PIXEL_DATA:
                raise SlideError("the converted image holds no pixel data")
            source.seek(at)
            if number == 1:
                _check_spacing(header, spacing)
            describe(header, description, sha256, number, written)
            name = f"{number}.dcm"
            with (folder / name).open("wb") as target:
                pydicom.dcmwrite(target, header, enforce_file_format=True)
                # What follows the header is pixel data to the end, and stays as it is.
                shutil.copyfileobj(source, target, _COPY)
        Path(path).unlink()
        names.append(name)
    return names


def _check_spacing(header: Dataset, expected: float) -> None:
    """That OpenSlide and the converter read the same: OME-TIFF says it twice, in its XML and as TIFF does."""
    found = pixel_spacing_um(header)
    if found is None or abs(found[1] - expected) > _SAME * expected:
        said = "no spacing" if found is None else f"{found[1]:.4g} um"
        raise SlideError(
            f"the file says in one place that its pixels lie {expected:.4g} um apart and in another {said}; "
            "give spacing_um (--spacing), in micrometres"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[Any]:
    """Standard output is for the answer alone: what libraries print goes nowhere."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    yield answer
    answer.close()


def _end_with_whoever_asked() -> NoReturn:
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(1)


def main() -> None:
    """Answer the request of standard input."""
    os.nice(10)
    with contextlib.suppress(OSError):  # where memory runs out, this process goes first
        Path("/proc/self/oom_score_adj").write_text("1000")
    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_whoever_asked, daemon=True).start()
    with _quiet() as answer:
        try:
            found = convert(
                Path(request["file"]),
                Path(request["folder"]),
                Description.model_validate_json(json.dumps(request["description"])),
                with_label=bool(request["with_label"]),
                with_overview=bool(request["with_overview"]),
            )
        except RouterError as error:
            found = {"error": str(error), "kind": type(error).__name__}
        answer.write("\n" + json.dumps(found) + "\n")
        answer.flush()
    # Foreign libraries' threads and destructors have had their chance: the answer is out.
    os._exit(0)


if __name__ == "__main__":
    main()
