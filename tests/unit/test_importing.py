"""The watched folder, with a scripted importer and a clock of its own."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from airouter.adapters.lock import StateLock
from airouter.errors import ArchiveUnavailable, ImportStopped, SidecarError, StateLocked
from airouter.ports import Imported
from airouter.services.importing import DroppedSlide, ImportState, WatchedFolder
from tests.slide_files import PATIENT, sidecar

SETTLING = 10.0


class Importer:
    """Notes what it is asked for; `fail` names what to raise, per slide."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.files: list[list[str]] = []
        self.fail: dict[str, Exception] = {}
        self.stopped = False

    def run(self, file: Path, sidecar: Path) -> Imported:
        assert file.is_file()
        assert sidecar.is_file()
        self.asked.append(file.name)
        self.files.append(sorted(p.name for p in file.parent.iterdir()))
        if file.name in self.fail:
            raise self.fail[file.name]
        return Imported("1.2.3", 4, 4)

    def stop(self) -> None:
        self.stopped = True


class Watch:
    """A folder, what is watched with, and a clock that is set by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.importer = Importer()
        self.now = 1000.0
        self.start()

    def start(self, own: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        """A new process on the same folder."""
        self.watched = WatchedFolder(self.folder, self.importer, own, settling=SETTLING, clock=lambda: self.now)
        self.watched._make()

    def drop(self, name: str = "a.svs", content: str = "pixels", described: bool = True) -> Path:
        path = self.folder / name
        path.write_text(content)
        if described:
            sidecar(path)
        return path

    def step(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.watched.step()

    def settle(self) -> None:
        self.step()
        self.step(SETTLING)

    def states(self) -> dict[str, ImportState]:
        return {slide.name: slide.state for slide in self.watched.slides()}

    def only(self) -> DroppedSlide:
        (slide,) = self.watched.slides()
        return slide

    def tree(self) -> list[str]:
        return sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if not p.is_dir())


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(tmp_path)


def test_a_slide_that_has_settled_is_imported_with_its_sidecar(watch: Watch) -> None:
    watch.drop()
    watch.step()
    assert watch.importer.asked == []
    assert watch.only().state is ImportState.WAITING
    watch.step(SETTLING)
    assert watch.importer.asked == ["a.svs"]
    assert watch.tree() == ["imported/a.svs/a.svs", "imported/a.svs/a.svs.json"]
    assert watch.only().state is ImportState.IMPORTED
    watch.step(SETTLING)
    assert watch.importer.asked == ["a.svs"]


def test_a_slide_that_still_grows_is_left_alone(watch: Watch) -> None:
    path = watch.drop()
    for size in range(5):
        watch.step(SETTLING - 1)
        path.write_text("pixels" * (size + 2))
    assert watch.importer.asked == []
    watch.settle()
    assert watch.importer.asked == ["a.svs"]


def test_a_sidecar_that_changes_begins_the_wait_anew(watch: Watch) -> None:
    path = watch.drop()
    watch.step()
    sidecar(path, patient={"id": "ANOTHER-PATIENT"})
    watch.step(SETTLING)
    assert watch.importer.asked == []
    watch.step(SETTLING)
    assert watch.importer.asked == ["a.svs"]


def test_without_a_sidecar_a_slide_waits_and_says_so(watch: Watch) -> None:
    path = watch.drop(described=False)
    watch.settle()
    watch.step(10 * SETTLING)
    assert watch.importer.asked == []
    assert watch.only().reason == "the sidecar is not there"
    sidecar(path)
    watch.settle()
    assert watch.importer.asked == ["a.svs"]


def test_a_bad_slide_goes_to_failed_with_its_reason_and_the_next_is_imported(watch: Watch) -> None:
    watch.drop("a.svs")
    watch.drop("b.tiff")
    watch.importer.fail["a.svs"] = SidecarError("patient.id is missing")
    watch.settle()
    assert watch.importer.asked == ["a.svs", "b.tiff"]
    assert watch.states() == {"a.svs": ImportState.FAILED, "b.tiff": ImportState.IMPORTED}
    reason = (watch.folder / "failed/a.svs/a.svs.reason.txt").read_text()
    assert "patient.id is missing" in reason
    assert SidecarError.advice in reason
    assert next(s for s in watch.watched.slides() if s.name == "a.svs").reason == reason.strip()


def test_a_failed_slide_that_is_dropped_again_is_tried_again(watch: Watch) -> None:
    watch.drop()
    watch.importer.fail["a.svs"] = SidecarError("patient.id is missing")
    watch.settle()
    for path in (watch.folder / "failed/a.svs").iterdir():  # reason and all
        path.rename(watch.folder / path.name)
    watch.importer.fail.clear()
    watch.settle()
    assert watch.importer.asked == ["a.svs", "a.svs"]
    assert (watch.folder / "imported/a.svs/a.svs").exists()


def test_slides_of_one_name_do_not_overwrite_each_other(watch: Watch) -> None:
    for content in ("one", "two", "three"):
        watch.drop(content=content)
        watch.settle()
    found = sorted(p.read_text() for p in watch.folder.glob("imported/*/a.svs"))
    assert found == ["one", "three", "two"]


def test_an_archive_that_is_away_is_waited_for_with_longer_pauses(watch: Watch) -> None:
    watch.drop()
    watch.importer.fail["a.svs"] = ArchiveUnavailable("Orthanc does not answer")
    watch.settle()
    assert watch.only().state is ImportState.WORKING
    assert "does not answer" in watch.only().reason
    watch.step(1.0)
    assert len(watch.importer.asked) == 1
    for _ in range(200):
        watch.step(5.0)
    assert len(watch.importer.asked) == 8, "after 5, 10, 20, 40, 80, 160 and 320 s"
    watch.importer.fail.clear()
    watch.step(700.0)
    assert watch.only().state is ImportState.IMPORTED


def test_what_nobody_foresaw_fails_one_slide_and_quotes_nothing(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    watch.drop()
    watch.importer.fail["a.svs"] = ValueError(PATIENT)
    watch.settle()
    assert watch.only().state is ImportState.FAILED
    assert "ValueError" in watch.only().reason
    assert PATIENT not in watch.only().reason + caplog.text


def test_no_file_name_is_logged(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    watch.drop(f"{PATIENT}.svs")
    watch.drop("Canary-2.svs")
    watch.importer.fail["Canary-2.svs"] = SidecarError("patient.id is missing")
    watch.settle()
    assert "1.2.3" in caplog.text
    assert "Canary" not in caplog.text


def test_a_stop_leaves_the_slide_for_the_next_start(watch: Watch) -> None:
    watch.drop()
    watch.importer.fail["a.svs"] = ImportStopped("the router stops")
    watch.settle()
    assert watch.states() == {"a.svs": ImportState.WORKING}
    watch.importer.fail.clear()
    watch.start()
    watch.step()
    assert watch.states() == {"a.svs": ImportState.IMPORTED}


class Crash(BaseException):
    """The process ends here."""


def moves(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Crash after so many renames."""
    left = iter(range(after))
    rename = Path.rename

    def counted(self: Path, target: Path) -> Path:
        if next(left, None) is None:
            raise Crash
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", counted)


@pytest.mark.parametrize("after", range(5))
def test_a_crash_between_any_two_moves_loses_nothing(watch: Watch, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """A MIRAX slide: file, folder and sidecar."""
    watch.drop("m.mrxs")
    (watch.folder / "m").mkdir()
    (watch.folder / "m" / "Data0000.dat").write_text("tiles")
    with monkeypatch.context() as patched:
        moves(patched, after)
        try:
            watch.settle()
            crashed = False
        except Crash:
            crashed = True
    assert crashed == (after < 4)
    watch.start()
    watch.settle()
    watch.step(SETTLING)
    assert watch.tree() == ["imported/m.mrxs/m.mrxs", "imported/m.mrxs/m.mrxs.json", "imported/m.mrxs/m/Data0000.dat"]
    assert set(watch.importer.asked) == {"m.mrxs"}
    assert all(files == ["m", "m.mrxs", "m.mrxs.json"] for files in watch.importer.files)
    assert list((watch.folder / "working").iterdir()) == []


def test_a_mirax_slide_waits_for_its_folder(watch: Watch) -> None:
    watch.drop("m.mrxs")
    watch.settle()
    assert watch.only().reason == "the folder of the slide is not there"


def test_other_files_and_folders_are_not_touched(watch: Watch) -> None:
    for name in ("notes.txt", ".hidden.svs", "slide.dcm", "orphan.svs.json"):
        watch.drop(name, described=False)
    (watch.folder / "folder.svs").mkdir()
    before = watch.tree()
    watch.settle()
    assert watch.tree() == before
    assert watch.watched.slides() == []


@pytest.mark.parametrize("what", ["slide", "sidecar", "companion", "pipe"])
def test_links_and_special_files_are_not_followed(watch: Watch, tmp_path: Path, what: str) -> None:
    elsewhere = tmp_path.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    (elsewhere / "secret").write_text("secret")
    if what == "slide":
        (watch.folder / "a.svs").symlink_to(elsewhere / "secret")
        sidecar(watch.folder / "a.svs")
    elif what == "sidecar":
        watch.drop(described=False)
        (watch.folder / "a.svs.json").symlink_to(elsewhere / "secret")
    elif what == "companion":
        watch.drop("a.mrxs")
        (watch.folder / "a").mkdir()
        (watch.folder / "a" / "Data0000.dat").symlink_to(elsewhere / "secret")
    else:
        os.mkfifo(watch.folder / "a.svs")
        sidecar(watch.folder / "a.svs")
    watch.settle()
    assert watch.importer.asked == []
    assert watch.only().reason == "a link or special file is not taken"


# -- what cannot be moved --


def test_a_name_that_leaves_no_room_for_a_reason_waits_alone(watch: Watch) -> None:
    for stem in (250, 231):
        (watch.folder / ("x" * stem + ".svs")).write_text("pixels")
    watch.drop("y" * 226 + ".svs")
    watch.importer.fail["y" * 226 + ".svs"] = SidecarError("patient.id is missing")
    watch.drop("z.svs")
    watch.settle()
    assert [name[0] for name in watch.importer.asked] == ["y", "z"]
    assert watch.states()["y" * 226 + ".svs"] is ImportState.FAILED
    assert {s.reason for s in watch.watched.slides() if s.state is ImportState.WAITING} == {"its name is too long"}


@pytest.mark.parametrize("name", ["working.mrxs", "imported.mrxs", "Failed.MRXS"])
def test_a_slide_never_takes_our_own_folders_along(watch: Watch, name: str) -> None:
    watch.drop("a.svs")
    watch.settle()
    watch.drop(name)
    watch.drop("z.svs")
    watch.settle()
    assert watch.importer.asked == ["a.svs", "z.svs"]
    assert (watch.folder / "imported/a.svs/a.svs").exists()
    assert "another name" in next(s.reason for s in watch.watched.slides() if s.name == name)


def refuse(monkeypatch: pytest.MonkeyPatch, refused: Callable[[Path, Path], bool], number: int) -> None:
    rename = Path.rename

    def moved(self: Path, target: Path) -> Path:
        if refused(self, Path(target)):
            raise OSError(number, os.strerror(number))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", moved)


def test_what_cannot_be_moved_away_is_not_imported_twice(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """imported/ may be another file system."""
    with monkeypatch.context() as patched:
        refuse(patched, lambda path, target: target.parent.name == "imported", errno.EXDEV)
        watch.drop("a.svs")
        watch.drop("b.svs")
        for _ in range(20):
            watch.step(SETTLING)
        assert watch.importer.asked == ["a.svs", "b.svs"]
        assert all("cannot be moved" in slide.reason for slide in watch.watched.slides())
    watch.step(700.0)
    assert set(watch.states().values()) == {ImportState.IMPORTED}
    assert watch.importer.asked == ["a.svs", "b.svs"]


def test_a_mirax_folder_of_another_user_keeps_no_other_slide(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        refuse(patched, lambda path, _: path.name == "m", errno.EACCES)
        watch.drop("m.mrxs")
        (watch.folder / "m").mkdir()
        (watch.folder / "m" / "Data0000.dat").write_text("tiles")
        watch.drop("z.svs")
        watch.settle()
        assert watch.importer.asked == ["z.svs"]
        assert "Permission denied" in next(s.reason for s in watch.watched.slides() if s.name == "m.mrxs")
    watch.step(700.0)
    assert watch.importer.files[-1] == ["m", "m.mrxs", "m.mrxs.json"]


def test_a_slide_that_may_not_be_taken_says_so(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's, in a folder with the sticky bit."""
    with monkeypatch.context() as patched:
        refuse(patched, lambda path, _: path.name == "a.svs", errno.EPERM)
        watch.drop("a.svs")
        watch.drop("z.svs")
        watch.settle()
        assert watch.importer.asked == ["z.svs"]
        for seconds in (1.0, SETTLING, 1.0):
            assert "not permitted" in next(s.reason for s in watch.watched.slides() if s.name == "a.svs")
            watch.step(seconds)
        assert list((watch.folder / "working").iterdir()) == []
    watch.step(SETTLING)
    assert watch.states()["a.svs"] is ImportState.IMPORTED


# -- the thread --


@pytest.fixture
def running() -> Iterator[Callable[[WatchedFolder], None]]:
    threads: list[tuple[WatchedFolder, threading.Thread]] = []

    def start(watched: WatchedFolder) -> None:
        thread = threading.Thread(target=watched.run)
        thread.start()
        threads.append((watched, thread))

    yield start
    for watched, thread in threads:
        watched.stop()
        thread.join(10)
        assert not thread.is_alive()


def until(condition: Callable[[], object]) -> None:
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not happen within 10 s")


Running = Callable[[WatchedFolder], None]


def test_only_one_process_works_on_a_folder(tmp_path: Path, running: Running) -> None:
    first, second = (
        WatchedFolder(tmp_path, Importer(), lambda: StateLock(tmp_path / "working", "ImportDirectory"), settling=0.0)
        for _ in "ab"
    )
    running(first)
    until((tmp_path / "imported").exists)
    running(second)
    until(lambda: second.problem)
    assert "in use by process" in second.problem
    assert StateLocked.advice in second.problem
    assert first.problem == ""


def test_a_folder_that_cannot_be_made_is_a_reason_and_no_crash(tmp_path: Path, running: Running) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "import"
    watched = WatchedFolder(folder, Importer(), lambda: StateLock(folder / "working", "ImportDirectory"))
    running(watched)
    until(lambda: watched.problem)
    assert "AIRouter.ImportDirectory" in watched.problem


def test_a_folder_that_goes_away_is_a_reason_and_the_thread_goes_on(tmp_path: Path, running: Running) -> None:
    folder = tmp_path / "import"
    folder.mkdir()
    watched = WatchedFolder(folder, Importer(), nullcontext, settling=0.0)
    running(watched)
    until((folder / "failed").exists)
    folder.rename(tmp_path / "elsewhere")
    until(lambda: watched.problem)
    assert "cannot be used" in watched.problem


def test_stop_reaches_the_importer(tmp_path: Path) -> None:
    importer = Importer()
    watched = WatchedFolder(tmp_path, importer, nullcontext)
    watched.stop()
    watched.run()
    assert importer.stopped
