"""The worklist's page over a database alone: no Orthanc, no router, but every route, role and row."""

import base64
import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from werkzeug.serving import make_server

from airouter.adapters.database import DatabaseJournal
from airouter.adapters.reading import ReadingStore
from airouter.config import UserSettings
from airouter.domain.job import Job, Source
from airouter.domain.priority import Ground, Priority, Reading, verdict_of
from airouter.domain.reading import Facts, Rule
from airouter.domain.study import Modality
from airouter.ports import ResultRecord
from airouter.services.reading_room import ReadingRoom
from airouter.web.access import Access
from airouter.web.app import create_app
from tests.web_services import Fake

ROLES = {"ann": "reader", "bob": "reader", "eve": "supervisor", "gus": "governance", "ada": "administrator"}


@dataclass(frozen=True)
class Desk:
    """A server at `url`; what it serves can be changed while it runs."""

    url: str
    journal: DatabaseJournal
    lines: ReadingStore
    room: ReadingRoom
    fake: Fake

    def study(
        self,
        number: int,
        priority: Priority = Priority.ROUTINE,
        name: str = "",
        reading: Reading | None = None,
        modality: Modality = Modality.OP,
    ) -> str:
        """A study with one result of two findings; its UID."""
        uid, key = f"1.2.{number}", f"{number:064x}"
        self.lines.record(
            Facts(uid, f"id-{uid}", (modality.value,), name or f"Patient{number}^Pat", f"P{number}", "19600101", "F",
                  f"A{number}", "Photographs", "20260301", "0900", "R")
        )  # fmt: skip
        made = Job(
            key, f"id-{uid}", uid, f"{uid}.1", modality, (Source("a", f"{uid}.1.1", "d"),),
            "triage", "1", "m", "1", "ab" * 32, route="r",
        )  # fmt: skip
        self.journal.add(made)
        findings = tuple({"key": k, "label": k, "laterality": "R", "measurements": [], "evaluations": []} for k in "ab")
        verdict = verdict_of(Ground(priority, f"{priority} because of a", ("a",)), reading=reading)
        self.journal.complete(ResultRecord(key, uid, findings, (), verdict, ()))
        return uid


@contextmanager
def desk(folder: Path) -> Iterator[Desk]:
    """A server with an empty list and a user of each role; the password does not matter."""
    journal = DatabaseJournal(f"sqlite:///{folder}/journal.db", b"a key")
    lines = ReadingStore(journal.store)
    lines.open(Rule(audit_share=0.0))
    readers = tuple(name for name, role in ROLES.items() if role in ("reader", "supervisor"))
    room = ReadingRoom(lines, readers=readers)
    fake = Fake(journal)
    users = {name: UserSettings.model_validate({"Roles": [role]}) for name, role in ROLES.items()}
    services = dataclasses.replace(fake.services(), readings=lambda: room, access=Access(users=users))
    server = make_server("127.0.0.1", 0, create_app(services), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Desk(f"http://127.0.0.1:{server.server_port}", journal, lines, room, fake)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        journal.close()


def login(name: str) -> dict[str, str]:
    """Headers of a user; Orthanc itself would have checked the password."""
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:x'.encode()).decode()}"}
