"""The watched folder: slides that are no DICOM objects, dropped with their sidecars, go into the archive by themselves.

    slide.svs + slide.svs.json    dropped; taken up once neither changes any more
    working/NAME/                 taken up: what belongs together is together, whatever ends the process
    imported/NAME/, failed/NAME/  done; one rename each. In failed/, NAME.reason.txt says why

The folders themselves are the state: nothing else is kept, and a slide found in working/ at a start is simply imported
again, which stores nothing twice. What cannot be moved is told and tried again, and keeps no other slide waiting.
Logs name no files: files are named for patients.
"""

import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from airouter.errors import ImportStopped, RouterError, place
from airouter.ports import SlideImporter

log = logging.getLogger(__name__)

WORKING: Final = "working"
IMPORTED: Final = "imported"
FAILED: Final = "failed"
SIDECAR: Final = ".json"
REASON: Final = ".reason.txt"
# What OpenSlide reads and what a scanner writes as one file, or as a file with a folder of its name (MIRAX).
SUFFIXES: Final = frozenset({".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".svslide"})
_POLL: Final = 2.0  # s
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 600.0  # s between two tries of what fails for a passing reason
_MOST_LISTED: Final = 1000
_MOST_REASON: Final = 4096
_LONGEST_NAME: Final = 230  # bytes: `.reason.txt` and a number follow, and most file systems take 255


class ImportState(StrEnum):
    """Where a dropped slide stands."""

    WAITING = "waiting"
    WORKING = "working"
    IMPORTED = "imported"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class DroppedSlide:
    """One slide of the folder. `since`: ISO 8601 UTC, when it came into this state, or was last written if waiting."""

    name: str
    state: ImportState
    since: str
    reason: str = ""


@dataclass(slots=True)
class _Seen:
    """What a waiting slide looked like, and since when."""

    signature: tuple[tuple[str, int, int], ...]
    since: float
    reason: str = ""
    refused: str = ""  # why it could not be taken up when it was tried


@dataclass(slots=True)
class _Try:
    failures: int = 0
    not_before: float = 0.0
    reason: str = ""
    # Where it goes and what is noted, once the import has ended: what cannot be moved is not imported once more.
    ended: tuple[str, str | None] | None = None


@dataclass(slots=True)
class WatchedFolder:
    """Imports what is dropped into `folder`, one slide at a time. `run` is the loop of one thread, `step` one turn.

    `importer` does the import; `own` makes this process the only one on the folder and raises RouterError where another
    is; `settling`: seconds without a change before a slide is taken up.
    """

    folder: Path
    importer: SlideImporter
    own: Callable[[], AbstractContextManager[object]]
    settling: float = 10.0
    clock: Callable[[], float] = time.monotonic
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _tries: dict[str, _Try] = field(default_factory=dict)
    _problem: str = ""
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def problem(self) -> str:
        """Why the folder is not worked on at present, empty where it is."""
        return self._problem

    def stop(self) -> None:
        """Ask the loop to end and end the import under way."""
        self._stop.set()
        self.importer.stop()

    def run(self) -> None:
        """Make the folder our own, then loop until `stop`. What cannot be read or written is tried again."""
        while not self._stop.is_set():
            try:
                with self.own():
                    self._make()
                    while not self._stop.is_set():
                        self.step()
                        self._tell("")
                        self._stop.wait(min(_POLL, max(self.settling, 0.1)))
            except RouterError as error:
                self._tell(f"{error}. {error.advice}")
            except OSError as error:
                self._tell(f"the import folder cannot be used: {error.strerror or type(error).__name__}")
            except Exception as error:  # noqa: BLE001 - outermost seam of this thread
                self._tell(f"internal error: {type(error).__name__} at {place(error)}")
            self._stop.wait(_FIRST_PAUSE)

    def _tell(self, problem: str) -> None:
        if problem and problem != self._problem:
            log.error("import: %s", problem)
        self._problem = problem

    def _make(self) -> None:
        for name in (WORKING, IMPORTED, FAILED):
            (self.folder / name).mkdir(exist_ok=True)

    def step(self) -> None:
        """Import what was taken up already, then take up what has settled. Raises OSError where the folder fails."""
        for place_ in sorted(p for p in (self.folder / WORKING).iterdir() if p.is_dir() and not p.is_symlink()):
            if self._stop.is_set():
                return
            self._work_on(place_)
        slides = list(self._slides())
        self._seen = {name: seen for name, seen in self._seen.items() if name in {slide.name for slide in slides}}
        for slide in slides:
            if self._stop.is_set():
                return
            if self._settled(slide) and (taken := self._take(slide)) is not None:
                self._work_on(taken)

    # -- what is dropped ----------------------------------------------------------------------------------------------

    def _slides(self) -> Iterator[Path]:
        for path in sorted(self.folder.iterdir()):
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.is_dir():
                yield path

    def _settled(self, slide: Path) -> bool:
        """Whether everything is there and nothing has changed for the settling time; notes what is waited for."""
        signature, reason = _signature(slide)
        seen = self._seen.get(slide.name)
        now = self.clock()
        if seen is None or seen.signature != signature:
            seen = self._seen[slide.name] = _Seen(signature, now)
        if not reason and now - seen.since < self.settling:
            reason = seen.refused or "waiting until it has not changed for a while"
        seen.reason = reason
        return not reason

    def _take(self, slide: Path) -> Path | None:
        """Move what belongs together into a folder of its own. The slide comes first: `_gather` fetches the rest.

        None where it cannot be moved, such as another user's file in a folder with the sticky bit.
        """
        place_ = _free(self.folder / WORKING, slide.name)
        place_.mkdir()
        try:
            slide.rename(place_ / slide.name)
        except OSError as error:
            place_.rmdir()
            seen = self._seen[slide.name]
            seen.since, seen.reason = self.clock(), f"it cannot be moved: {error.strerror}"
            seen.refused = seen.reason
            return None
        self._seen.pop(slide.name, None)
        return place_

    def _gather(self, place_: Path) -> Path | None:
        """The slide in a folder of working/, with its parts fetched; None where a crash left an empty folder."""
        slide = next((p for p in sorted(place_.iterdir()) if p.suffix.lower() in SUFFIXES and p.is_file()), None)
        if slide is None:
            return None
        for name in (slide.stem, slide.name + SIDECAR):
            dropped = self.folder / name
            belongs = name != slide.stem or slide.suffix.lower() == ".mrxs"
            if belongs and not (place_ / name).exists() and dropped.exists() and not dropped.is_symlink():
                dropped.rename(place_ / name)
        return slide

    # -- work ---------------------------------------------------------------------------------------------------------

    def _work_on(self, place_: Path) -> None:
        attempt = self._tries.setdefault(place_.name, _Try())
        if self.clock() < attempt.not_before:
            return
        try:
            slide = self._gather(place_)
            if slide is not None:
                attempt.ended = attempt.ended or self._import(slide)
                self._end(place_, *attempt.ended, slide)
            elif not any(place_.iterdir()):
                place_.rmdir()
        except ImportStopped:
            return
        except RouterError as error:
            self._again(attempt, str(error))
        except OSError as error:
            self._again(attempt, f"a slide cannot be moved: {error.strerror}")
        else:
            self._tries.pop(place_.name, None)

    def _import(self, slide: Path) -> tuple[str, str | None]:
        """Where the slide goes and what is noted of it. Raises RouterError where it is to be tried again."""
        try:
            done = self.importer.run(slide, slide.with_name(slide.name + SIDECAR))
        except RouterError as error:
            if error.transient:
                raise
            log.error("import failed: %s", error)
            return FAILED, f"{error}\n{error.advice}\n"
        except Exception as error:  # noqa: BLE001 - one slide must not keep the others from being imported
            reason = f"internal error: {type(error).__name__} at {place(error)}"
            log.error("import failed: %s", reason)
            return FAILED, reason + "\n"
        log.info("import: study %s, %d instances, %d of them new", done.study_uid, done.instances, done.new)
        return IMPORTED, None

    def _again(self, attempt: _Try, reason: str) -> None:
        attempt.not_before = self.clock() + min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(attempt.failures, 16))
        attempt.failures += 1
        attempt.reason = f"{reason}; it is tried again"
        log.warning("import: %s; trying again", reason)

    def _end(self, place_: Path, where: str, reason: str | None, slide: Path) -> None:
        note = slide.with_name(slide.name + REASON)
        if reason is None:
            note.unlink(missing_ok=True)
        else:
            note.write_text(reason, encoding="utf-8")
        os.utime(place_)  # when it ended
        place_.rename(_free(self.folder / where, slide.name))

    # -- how it stands ------------------------------------------------------------------------------------------------

    def slides(self, limit: int = _MOST_LISTED) -> Sequence[DroppedSlide]:
        """Every slide of the folder, those that wait or are worked on first, then the newest. Raises OSError."""
        waiting = []
        for slide in self._slides():
            seen = self._seen.get(slide.name)
            reason = seen.reason if seen else _signature(slide)[1]
            waiting.append(DroppedSlide(slide.name, ImportState.WAITING, _time(slide), reason))
        ended = [*self._ended(FAILED, ImportState.FAILED), *self._ended(IMPORTED, ImportState.IMPORTED)]
        ended.sort(key=lambda slide: slide.since, reverse=True)
        return [*self._working(), *waiting, *ended][:limit]

    def _working(self) -> Iterator[DroppedSlide]:
        for place_ in _folders(self.folder / WORKING):
            attempt = self._tries.get(place_.name)
            yield DroppedSlide(place_.name, ImportState.WORKING, _time(place_), attempt.reason if attempt else "")

    def _ended(self, where: str, state: ImportState) -> Iterator[DroppedSlide]:
        for place_ in _folders(self.folder / where):
            reason = ""
            if state is ImportState.FAILED:
                note = next(iter(sorted(place_.glob("*" + REASON))), None)
                if note is not None and note.is_file():
                    with note.open(encoding="utf-8", errors="replace") as text:
                        reason = text.read(_MOST_REASON).strip()
            yield DroppedSlide(place_.name, state, _time(place_), reason)


def _signature(slide: Path) -> tuple[tuple[tuple[str, int, int], ...], str]:
    """Names, sizes and times of everything that belongs to a slide, and what is missing or wrong about it."""
    if len(os.fsencode(slide.name)) > _LONGEST_NAME:
        return (), "its name is too long"
    if slide.suffix.lower() == ".mrxs" and slide.stem.lower() in (WORKING, IMPORTED, FAILED):
        return (), "its folder would be one that imports need themselves: give it another name"
    parts = [slide, slide.with_name(slide.name + SIDECAR)]
    reason = ""
    if slide.suffix.lower() == ".mrxs":
        folder = slide.with_suffix("")
        parts += [folder, *sorted(folder.rglob("*"))] if folder.is_dir() and not folder.is_symlink() else []
        reason = "" if len(parts) > 2 else "the folder of the slide is not there"
    signature = []
    for part in parts:
        try:
            found = part.lstat()
        except FileNotFoundError:
            reason = "the sidecar is not there" if part.suffix == SIDECAR else "it has just gone"
            continue
        if stat.S_ISLNK(found.st_mode) or not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            reason = "a link or special file is not taken"
        elif not os.access(part, os.R_OK):
            reason = "it cannot be read: permission denied"
        signature.append((part.name, found.st_size, found.st_mtime_ns))
    return tuple(signature), reason


def _free(folder: Path, name: str) -> Path:
    """A name in the folder that is not taken: that of the slide, with a number where it came before."""
    path, number = folder / name, 1
    while path.exists() or path.is_symlink():
        number += 1
        path = folder / f"{name} ({number})"
    return path


def _folders(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(p for p in folder.iterdir() if p.is_dir() and not p.is_symlink())


def _time(path: Path) -> str:
    try:
        at = path.stat().st_mtime
    except OSError:
        at = 0.0
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
