"""The benchmark: runs the groups of figures one after the other, prints the table, writes the JSON."""

import argparse
import importlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "plugin"), str(ROOT)]

import pytest  # noqa: E402
from rich.console import Console  # noqa: E402

from benchmark import report  # noqa: E402
from benchmark.figure import Figure, Options  # noqa: E402

# Groups in the order of the table, and the modules of `benchmark` that measure them.
GROUPS = {
    "engine": ("engine",),
    "peers": ("peers",),
    "memory": ("memory",),
    "quantised": ("int8", "quantised"),
    "ingest": ("ingest",),
    "writing": ("writing",),
    "quality": ("quality",),
}
# What `scripts/bench worklist` measures.
LISTS = {"worklist": ("worklist",)}
_WIDTH = 150  # of a table that is not shown on a terminal


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 whatever the figures are: the table says which targets were missed."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    tasks = parser.add_subparsers(dest="task", required=True)
    slide = tasks.add_parser("slide", help="measure the slide engine")
    slide.add_argument("--quick", action="store_true", help="small slides, few rounds: to see that everything runs")
    slide.add_argument("--only", nargs="+", choices=GROUPS, metavar="GROUP", help=f"of {', '.join(GROUPS)}")
    slide.add_argument("--peers", action="store_true", help="install other software in .cache/bench and measure it too")
    slide.add_argument("--provider", default="CPU", choices=("CPU", "CUDA", "TensorRT", "OpenVINO"))
    slide.add_argument("--threads", type=int, default=min(8, max(2, os.cpu_count() or 2)), help="of every contender")
    slide.add_argument("--repeats", type=int, help="interleaved rounds (5, with --quick 2)")
    slide.add_argument("--out", type=Path, help="where the JSON goes (.cache/bench/slide-DATE.json)")
    listed = tasks.add_parser("worklist", help="measure the worklist at 10,000 studies")
    listed.add_argument("--quick", action="store_true", help="1,000 studies: to see that everything runs")
    listed.add_argument("--repeats", type=int, help="rounds (5, with --quick 2)")
    listed.add_argument("--out", type=Path, help="where the JSON goes (.cache/bench/worklist-DATE.json)")
    listed.set_defaults(only=None, peers=False, provider="CPU", threads=1)
    shown = tasks.add_parser("markdown", help="print the table of an earlier run as Markdown")
    shown.add_argument("file", type=Path, help="its JSON")
    asked = parser.parse_args(arguments)
    if asked.task == "markdown":
        print(report.markdown(json.loads(asked.file.read_text(encoding="utf-8"))), end="")
        return 0
    return _run(asked, LISTS if asked.task == "worklist" else GROUPS)


def _run(asked: argparse.Namespace, known: Mapping[str, Sequence[str]]) -> int:
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    cache = ROOT / ".cache" / "bench"
    out = asked.out or cache / f"{asked.task}-{now}.json"
    repeats = asked.repeats or (2 if asked.quick else 5)
    groups = tuple(name for name in known if name in (asked.only or known))
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    figures: list[Figure] = []
    seconds: dict[str, float] = {}
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=cache) as work:
        options = Options(Path(work), asked.quick, asked.threads, repeats, asked.provider, asked.peers or False)
        for group in groups:
            begin = time.monotonic()
            console.print(f"measuring: {group}", highlight=False)
            for module in known[group]:
                figures += measured(module, options)
            seconds[group] = round(time.monotonic() - begin, 1)
            report.write(figures, options, seconds, out)  # after each group: a run takes long and may be interrupted
    report.show(figures, console)
    console.print(f"JSON: {out}", soft_wrap=True, highlight=False)
    return 0


def measured(module: str, options: Options) -> list[Figure]:
    """A module's figures, or the one line that says why there are none."""
    if module == "peers" and not options.peers:
        return [report.missing(module, "it was not asked for (--peers)")]
    try:
        figures: list[Figure] = importlib.import_module(f"benchmark.{module}").measure(options)
    except (Exception, pytest.skip.Exception) as error:  # noqa: BLE001 - outermost seam: the others are still measured
        traceback.print_exc()
        why = str(error).strip() or type(error).__name__
        return [report.missing(module, why.splitlines()[-1])]
    return figures


if __name__ == "__main__":
    # An exit, unlike a signal, stops what was started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
