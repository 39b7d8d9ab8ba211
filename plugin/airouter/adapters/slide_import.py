"""Imports one slide: convert in a child process, store, verify, and say what became of it."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pydicom

from airouter.adapters.converter import Converter
from airouter.adapters.sidecar import Description
from airouter.adapters.sidecar import read as read_sidecar
from airouter.adapters.slide_file import digest
from airouter.adapters.slide_store import SlideStore
from airouter.errors import ImportStopped, NoRoom, SlideError
from airouter.imaging.stain import stain
from airouter.ports import Imported

Progress = Callable[[str], None]
_PREFIX: Final = "airouter-import-"  # of our folders among others of `temporary`


@dataclass(frozen=True, slots=True)
class Summary:
    """What an import stored. `new`: instances that were not there before; `stain`: as it is recognised when read."""

    study_uid: str
    series_uid: str
    instances: int
    new: int
    levels: tuple[str, ...]
    spacing_um: float
    spacing_given: bool
    stain: str | None
    tiles_kept: bool
    left_out: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


class SlideImporter:
    """ports.SlideImporter, and the same with options for the command.

    `temporary`: where a folder for the converted files is made, which is gone in the end whatever happens.
    """

    def __init__(self, store: SlideStore, converter: Converter, temporary: Path | None = None) -> None:
        self._store = store
        self._converter = converter
        self._temporary = temporary

    def stop(self) -> None:
        """End the conversion under way; for good."""
        self._converter.stop()

    def clear(self) -> None:
        """Remove what imports left in `temporary` that were killed: for whoever is alone there."""
        if self._temporary is not None:
            for left in self._temporary.glob(_PREFIX + "*"):
                shutil.rmtree(left, ignore_errors=True)

    def run(self, file: Path, sidecar: Path) -> Imported:
        """Import with what the sidecar says. Raises RouterError."""
        summary = self.import_slide(file, read_sidecar(sidecar))
        return Imported(summary.study_uid, summary.instances, summary.new)

    def import_slide(
        self,
        file: Path,
        description: Description,
        *,
        with_label: bool = False,
        with_overview: bool = False,
        progress: Progress = lambda _: None,
    ) -> Summary:
        """Convert and store. Raises SlideError (NoRoom is transient), ImportConflict and what SlideStore raises."""
        if file.is_symlink() or not file.is_file():
            raise SlideError("it is a link or no regular file")

        def going() -> None:
            if self._converter.stopping:
                raise ImportStopped("the router stops")

        def stored(done: int, total: int) -> None:
            going()
            progress(f"stored {done} of {total}")

        try:
            sha256 = digest(file, going)
        except OSError as error:
            raise SlideError(f"the slide cannot be read: {error.strerror}") from error
        self._store.check(sha256, description)
        try:
            if self._temporary is not None:
                self._temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=self._temporary) as folder:
                progress("converting")
                converted = self._converter.convert(
                    file, Path(folder), description, with_label=with_label, with_overview=with_overview
                )
                if converted.sha256 != sha256:
                    raise SlideError("the file changed while it was converted: it was not there whole yet")
                new = self._store.store(converted.files, stored, going)
                headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in converted.files]
        except PermissionError as error:
            raise SlideError("no permission to read the slide, or to write the temporary files") from error
        except OSError as error:
            raise NoRoom(f"the temporary files cannot be written: {error.strerror}") from error
        return Summary(
            study_uid=str(headers[0].StudyInstanceUID),
            series_uid=str(headers[0].SeriesInstanceUID),
            instances=len(headers),
            new=new,
            levels=tuple(
                f"{h.TotalPixelMatrixColumns} x {h.TotalPixelMatrixRows}"
                for h in headers
                if str(h.ImageType[2]) == "VOLUME"
            ),
            spacing_um=converted.spacing_um,
            spacing_given=converted.spacing_given,
            stain=stain(headers[0]),
            tiles_kept=converted.tiles_kept,
            left_out=converted.left_out,
        )
