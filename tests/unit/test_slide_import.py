"""One slide's import around the conversion: what is hashed, compared, stopped and cleared away."""

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from airouter.adapters.converter import Converted
from airouter.adapters.sidecar import Description
from airouter.adapters.slide_file import digest
from airouter.adapters.slide_import import SlideImporter
from airouter.adapters.slide_store import _Body
from airouter.errors import ImportStopped, SlideError
from tests.slide_files import description


class Store:
    """Takes everything."""

    def __init__(self) -> None:
        self.checked: list[str] = []
        self.stored = 0

    def check(self, digest: str, description: Description) -> None:
        self.checked.append(digest)

    def store(self, files: Sequence[Path], *_: Callable[..., None]) -> int:
        self.stored += len(files)
        return len(files)


class FakeConverter:
    """Calls `during` in place of a conversion."""

    def __init__(self, during: Callable[[Path], None] = lambda _: None) -> None:
        self.during = during
        self.event = threading.Event()

    def stop(self) -> None:
        self.event.set()

    @property
    def stopping(self) -> bool:
        return self.event.is_set()

    def convert(self, file: Path, folder: Path, *_: Any, **__: Any) -> Converted:
        self.during(file)
        return Converted(digest(file), (), 0.5, False, True, ())


DESCRIBED = Description.model_validate(description(), strict=False)


def importer(converter: FakeConverter, store: Store, temporary: Path | None = None) -> SlideImporter:
    return SlideImporter(store, converter, temporary)  # type: ignore[arg-type]


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    path = tmp_path / "a.svs"
    path.write_bytes(b"pixels" * 1000)
    return path


def test_a_file_that_grows_meanwhile_is_not_stored_under_the_identity_of_another(slide: Path) -> None:
    """A copy may pause for longer than the settling time."""

    def grow(file: Path) -> None:
        with file.open("ab") as more:
            more.write(b"pixels")

    store = Store()
    with pytest.raises(SlideError, match="changed while it was converted"):
        importer(FakeConverter(grow), store).import_slide(slide, DESCRIBED)
    assert store.checked
    assert not store.stored


def test_a_stop_does_not_wait_until_a_large_file_is_read(tmp_path: Path) -> None:
    large = tmp_path / "large.svs"
    with large.open("wb") as stream:
        stream.truncate(1 << 37)  # holes: reading them would take minutes
    converter, store = FakeConverter(), Store()
    threading.Timer(0.05, converter.stop).start()
    with pytest.raises(ImportStopped):
        importer(converter, store).import_slide(large, DESCRIBED)
    assert not store.checked


def test_an_upload_ends_with_the_router(slide: Path) -> None:
    def going() -> None:
        raise ImportStopped("the router stops")

    with pytest.raises(ImportStopped):
        list(_Body(slide, going))


def test_a_slide_that_cannot_be_read_is_no_lack_of_space(slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("airouter.adapters.slide_import.digest", broken)
    with pytest.raises(SlideError, match="the slide cannot be read: Input/output error") as error:
        importer(FakeConverter(), Store()).import_slide(slide, DESCRIBED)
    assert not error.value.transient


def test_only_what_imports_left_is_cleared_away(tmp_path: Path) -> None:
    """The import folder may be the very folder."""
    (tmp_path / "airouter-import-x").mkdir()
    (tmp_path / "airouter-import-x" / "1.dcm").write_text("left by a crash")
    (tmp_path / "a.svs").write_text("somebody's slide")
    importer(FakeConverter(), Store(), tmp_path).clear()
    assert [path.name for path in tmp_path.iterdir()] == ["a.svs"]


def test_the_identity_of_a_mirax_slide_is_that_of_its_content(tmp_path: Path) -> None:
    found = set()
    for stem in ("m", "renamed", os.fsdecode(b"M\xfcller")):
        folder = tmp_path / stem
        (folder / "deep").mkdir(parents=True)
        (tmp_path / (stem + ".mrxs")).write_text("head")
        (folder / "deep" / "Data0000.dat").write_text("tiles")
        found.add(digest(tmp_path / (stem + ".mrxs")))
    assert len(found) == 1
    (folder / "deep" / "Data0000.dat").rename(folder / "Data0000.dat")
    assert digest(tmp_path / (stem + ".mrxs")) not in found
