"""The worklist at 10,000 studies: how long each look at it takes, in the database and as an answer of the route."""

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Final

from airouter.adapters.database import DatabaseJournal
from airouter.adapters.reading import ReadingStore
from airouter.domain.phase import Phase
from airouter.domain.priority import Reading
from airouter.domain.reading import Rule, Show, Wanted
from airouter.services.reading_room import ReadingRoom
from airouter.web.app import create_app
from airouter.web.services import Health, RouterState, WebServices
from benchmark.figure import Figure, Options
from phantoms.worklist import fill

GROUP: Final = "worklist"
_TARGET_MS: Final = 100.0


def measure(options: Options) -> list[Figure]:
    """The median of several looks each, in milliseconds; what is kept between two changes is told apart."""
    count = 1000 if options.quick else 10_000
    journal = DatabaseJournal(f"sqlite:///{options.work}/worklist.db", b"key")
    lines = ReadingStore(journal.store)
    lines.open(Rule())
    fill(journal.store, count)
    room = ReadingRoom(lines)
    client = create_app(
        WebServices(lambda: Health(RouterState.RUNNING), tuple, lambda: journal, lambda: None, readings=lambda: room)
    ).test_client()
    middle = lines.page(Wanted(limit=1, offset=count // 3)).entries[0].facts
    tag = client.get("/ai/worklist").headers["ETag"]
    looks: dict[str, Callable[[], object]] = {
        "GET /ai/worklist, unchanged": lambda: client.get("/ai/worklist", headers={"If-None-Match": tag}),
        "first 100, after a change": lambda: lines.page(Wanted()),
        "first 100": lambda: lines.page(Wanted()),
        "100 in the middle": lambda: lines.page(Wanted(offset=count // 2)),
        "by two words": lambda: lines.page(Wanted(text="garcía ki-67")),
        "by modality, phase and eye": lambda: lines.page(Wanted(modality="OP", phase=Phase.INTEGRATED, laterality="R")),
        "one queue": lambda: lines.page(Wanted(queue=Reading.REVIEW_AND_RELEASE)),
        "what is read": lambda: lines.page(Wanted(show=Show.READ)),
        "why a study stands where it does": lambda: lines.explain(middle.study_uid),
        "GET /ai/worklist": lambda: client.get("/ai/worklist"),
    }
    figures = []
    for name, look in looks.items():
        spent, worked = [], []
        for _ in range(1 + max(3, 3 * options.repeats)):
            if name.endswith("after a change"):
                _change(lines, middle.study_uid)
            began, busy = time.perf_counter(), time.thread_time()
            look()
            worked.append(1000.0 * (time.thread_time() - busy))
            spent.append(1000.0 * (time.perf_counter() - began))
        samples = tuple(spent[1:])
        detail = f"{count} studies, SQLite; {median(worked[1:]):.0f} ms of the processor"
        figures.append(Figure(GROUP, name, median(samples), "ms", "most", _TARGET_MS, samples, detail))
    journal.close()
    return figures


def _change(lines: ReadingStore, study: str) -> None:
    """Correct a study's description, so that the list has another revision."""
    entry = lines.entry(study)
    if entry is None or not lines.record(replace(entry.facts, description=f"{entry.facts.description}.")):
        raise ValueError(f"study {study} could not be changed")
