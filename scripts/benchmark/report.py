"""What a run found: a table for people, JSON for machines, and the rows of docs/explanation/performance.md."""

import importlib.metadata
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmark.figure import Figure, Options

ROOT: Final = Path(__file__).resolve().parents[2]

_PACKAGES: Final = (
    "onnxruntime",
    "numpy",
    "opencv-python-headless",
    "simplejpeg",
    "imagecodecs",
    "pydicom",
    "highdicom",
)
_BOUNDS: Final[Mapping[str | None, str]] = {"least": "≥", "most": "≤"}
_UNITS: Final[Mapping[str, str]] = {"1": ""}


def verdict(figure: Figure) -> str:
    """reached, missed, reported (no target), or not measured."""
    if figure.value is None:
        return f"not measured because {figure.detail}" if figure.detail else "not measured"
    return {True: "reached", False: "missed", None: "reported"}[figure.reached]


def missing(group: str, why: str) -> Figure:
    """A line for what could not be measured; `why` goes on after "because"."""
    return Figure(group, "all", None, detail=why)


def value(figure: Figure) -> str:
    """The figure with its unit; for a ratio or share of UCUM unit 1 the number alone."""
    if figure.value is None:
        return "–"
    # Ratios are compared in the third digit; of other figures nobody reads more than three either.
    digits = f"{figure.value:.3f}" if figure.unit == "1" and abs(figure.value) < 10 else f"{figure.value:.3g}"
    if abs(figure.value) >= 1000:
        digits = f"{figure.value:.0f}"
    return f"{digits} {_unit(figure)}".strip()


def _unit(figure: Figure) -> str:
    return _UNITS.get(figure.unit, figure.unit.replace("{", "").replace("}", ""))


def target(figure: Figure) -> str:
    """What is to be reached, empty where a figure is only reported."""
    if figure.bound is None or figure.target is None:
        return ""
    return f"{_BOUNDS[figure.bound]} {figure.target:g} {_unit(figure)}".strip()


def spread(figure: Figure) -> str:
    """Least and most of the single measurements behind the median, empty where there is one only."""
    if len(figure.samples) < 2:
        return ""
    return f"{min(figure.samples):.3g} to {max(figure.samples):.3g}, {len(figure.samples)} rounds"


def show(figures: Sequence[Figure], console: Console) -> None:
    """The table."""
    table = Table(title="The slide engine: figures and what is to be reached", show_lines=False, expand=True)
    for heading, share in (("figure", 8), ("value", 2), ("to reach", 1), ("", 2), ("single rounds", 3)):
        table.add_column(heading, ratio=share, overflow="fold")
    group = None
    for figure in figures:
        if figure.group != group:
            group = figure.group
            table.add_section()
            table.add_row(f"[bold]{escape(group)}[/bold]")
        said = verdict(figure)
        colour = {"reached": "green", "missed": "red"}.get(said, "default")
        told = f"\n{figure.detail}" if figure.detail and figure.value is not None else ""
        table.add_row(
            escape(f"  {figure.name}{told}"),
            value(figure),
            target(figure),
            f"[{colour}]{escape(said)}[/{colour}]",
            spread(figure),
        )
    console.print(table)


def markdown(run: Mapping[str, Any]) -> str:
    """The table of a run (its JSON, parsed) as Markdown."""
    figures = [_figure(entry) for entry in run["figures"]]
    lines = ["| figure | value | to reach | | single rounds |", "|---|---|---|---|---|"]
    group = None
    for figure in figures:
        if figure.group != group:
            group = figure.group
            lines.append(f"| **{group}** | | | | |")
        name = figure.name + (f" ({figure.detail})" if figure.detail and figure.value is not None else "")
        lines.append(f"| {name} | {value(figure)} | {target(figure)} | {verdict(figure)} | {spread(figure)} |")
    of = run["machine"]
    lines += [
        "",
        f"{run['date'][:10]}, {of['cpu']}, {of['cores']} cores, {of['memory_gb']:.0f} GB, {of['system']}, "
        f"Orthanc {of['orthanc']}, onnxruntime {of['packages'].get('onnxruntime', '?')}, provider "
        f"{run['options']['provider']}, commit {(run['commit'] or 'unknown')[:12]}.",
    ]
    return "\n".join(lines) + "\n"


def _figure(entry: Mapping[str, Any]) -> Figure:
    return Figure(**{**{k: v for k, v in entry.items() if k != "reached"}, "samples": tuple(entry["samples"])})


def write(figures: Sequence[Figure], options: Options, seconds: Mapping[str, float], out: Path) -> None:
    """The JSON of a run: every sample, the machine and the versions. `seconds`: how long each group took."""
    out.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "schema": 1,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "machine": machine(),
        "options": {
            "quick": options.quick,
            "threads": options.threads,
            "repeats": options.repeats,
            "provider": options.provider,
            "peers": options.peers,
        },
        "seconds": dict(seconds),
        "figures": [figure.as_json() for figure in figures],
    }
    out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, cores, memory, system, versions."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        "gpu": _gpu(),
        "system": _system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "orthanc": _orthanc(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpu() -> str | None:
    return _run("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader") or None


def _system() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")


def _orthanc() -> str:
    from tests.orthanc_process import ORTHANC

    said = re.search(r"\d+\.\d+\.\d+", _run(str(ORTHANC), "--version"))
    return said.group() if said else "not installed"


def _git(*arguments: str) -> str:
    return _run("git", "-C", str(ROOT), *arguments)


def _run(*command: str) -> str:
    """What a command prints, empty where it fails or is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
