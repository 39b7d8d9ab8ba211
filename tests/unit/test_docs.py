"""The documents are true as far as a machine can tell: links lead somewhere, commands exist, and none is forgotten."""

import os
import re
import shlex
from pathlib import Path

import pytest
import typer

from airouter import __version__
from airouter.cli import app

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "models", "plugin", "scripts", "tests")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])
COMMANDS = frozenset(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
README = ROOT / "README.md"

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
# The command, and not a path, an image's or a user's name that contains the word.
_CALL = re.compile(r"(?:(?<=\.venv/bin/)|(?<![\w/.:@-])(?<!-u ))airouter +([a-z][a-z-]*)")


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings; the second of two alike gets -1."""
    found: dict[str, int] = {}
    made = set()
    for heading in re.findall(r"^#+ +(.+?) *$", prose(page), re.MULTILINE):
        text = re.sub(r"[^\w\- ]", "", _LINK.sub("", heading).lower()).replace(" ", "-")
        count = found.get(text, 0)
        found[text] = count + 1
        made.add(text if not count else f"{text}-{count}")
    return made


def calls(page: Path) -> set[str]:
    """Every first word after `airouter` in code, be it a span or a block."""
    text = page.read_text(encoding="utf-8")
    code = [*_FENCE.findall(text), *_CODE.findall(_FENCE.sub("", text))]
    return {word for part in code for word in _CALL.findall(part)}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in (inline or image for inline, image in _LINK.findall(prose(page))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{target} is not there"
        assert there.is_relative_to(ROOT), f"{target} leads out of the repository"
        if anchor:
            assert anchor in anchors(there), f"{target}: no such heading; there are {sorted(anchors(there))}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_that_is_mentioned_exists(page: Path) -> None:
    assert calls(page) <= COMMANDS


def test_commands_are_found_where_they_are_mentioned() -> None:
    """The search itself: it would otherwise pass by finding nothing."""
    assert calls(ROOT / "docs/reference/cli.md") == COMMANDS
    assert {"credentials", "check", "models", "orthanc"} <= calls(ROOT / "docs/how-to/install-on-debian.md")


def test_every_command_has_its_section() -> None:
    headings = re.findall(r"^## airouter (.+)$", (ROOT / "docs/reference/cli.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(COMMANDS)


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=named)
def test_every_page_is_reached_from_the_index(page: Path) -> None:
    reached, todo = set(), [ROOT / "docs/README.md"]
    while todo:
        at = todo.pop()
        if at in reached:
            continue
        reached.add(at)
        for target in (inline for inline, _ in _LINK.findall(prose(at)) if inline and ":" not in inline):
            there = (at.parent / target.partition("#")[0]).resolve()
            if there.suffix == ".md" and there.is_relative_to(ROOT / "docs") and there.exists():
                todo.append(there)
    assert page in reached


def test_the_two_commands_of_the_readme_can_be_run() -> None:
    block = next(b for b in _FENCE.findall(README.read_text(encoding="utf-8")) if "scripts/" in b)
    commands = [shlex.split(line)[0] for line in block.splitlines()[1:-1] if line]
    assert commands == ["scripts/demo", "scripts/test"]
    for command in commands:
        assert os.access(ROOT / command, os.X_OK), f"{command} is not executable"


def test_the_changelog_knows_this_version() -> None:
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_no_page_names_a_place_of_one_machine() -> None:
    """Package hosts and home folders belong to whoever wrote them, not to the reader."""
    for page in [*PAGES, ROOT / "Dockerfile"]:
        found = re.findall(
            r"/work/|/home/\w+|/root/|pypi|index-url|ftp\.|deb\.debian", page.read_text(encoding="utf-8")
        )
        assert not found, f"{named(page)}: {found}"


def test_the_image_rewrites_what_the_configuration_has() -> None:
    """The Dockerfile edits orthanc.json by patterns; one that no longer matches would go unnoticed until it runs."""
    configuration = (ROOT / "orthanc.json").read_text(encoding="utf-8")
    patterns = re.findall(r"-e 's#(.+?)#.*?#'", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    assert len(patterns) == 6
    for pattern in patterns:
        assert pattern in configuration
