"""A slide's file as bytes: which files it consists of, and the digest that its identity derives from."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from airouter.errors import SlideError

_BLOCK: Final = 1 << 20


def digest(file: Path, going: Callable[[], None] = lambda: None) -> str:
    """SHA-256 of a slide: of the file, and of those in the folder of its name (MIRAX) with their paths, in order.

    Names of the slide itself are no part of it. `going` is called again and again, and may raise to end it.
    """
    made = hashlib.sha256()
    _add(made, file, going)
    for part in companions(file):
        path = os.fsencode(part.relative_to(file.with_suffix("")))  # a name need not be text
        made.update(b"\0%b\0%d\0" % (path, part.stat().st_size))
        _add(made, part, going)
    return made.hexdigest()


def companions(file: Path) -> list[Path]:
    """The files that belong to a MIRAX slide, none for other formats. Raises SlideError for a link among them."""
    if file.suffix.lower() != ".mrxs":
        return []
    folder = file.with_suffix("")
    found = sorted(path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
    if folder.is_symlink() or any(path.is_symlink() or not path.is_file() for path in found):
        raise SlideError("the folder of the slide holds a link or a special file")
    return found


def _add(made: Any, file: Path, going: Callable[[], None]) -> None:
    with file.open("rb") as source:
        while block := source.read(_BLOCK):
            going()
            made.update(block)
