"""Two readers decide on one finding at once, on SQLite and on PostgreSQL: one wins, and what is kept is whole."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airouter.adapters import tables
from airouter.adapters.audit import AuditTrail
from airouter.adapters.database import DatabaseJournal
from airouter.adapters.reviews import DatabaseReviews
from airouter.domain.audit import GENESIS, seal
from airouter.domain.review import Amendment, ReviewState, Verb
from airouter.services.delivery import Delivery
from airouter.services.review import Conflict, Reviews
from airouter.services.review_records import Answered
from tests.postgresql_process import postgresql
from tests.review_case import ANNA, BERT, NOW, ReviewCase

KEY = b"k" * 32
ROUNDS = 12
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReviewCase]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/state/journal.db"
    else:
        url = request.getfixturevalue("server")
        engine = sa.create_engine(url)
        tables.metadata.drop_all(engine)
        engine.dispose()
    made = ReviewCase.of(url, "fundus phantom", seal=KEY)
    yield made
    made.close()


def at_once(*calls: Any) -> list[Any]:
    """The answers of calls that begin together."""
    barrier, answers = threading.Barrier(len(calls)), [None] * len(calls)

    def run(n: int) -> None:
        barrier.wait()
        answers[n] = calls[n]()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def second_node(case: ReviewCase) -> Reviews:
    """Reviews over connections of their own."""
    journal = DatabaseJournal(str(case.journal.store._url.render_as_string(hide_password=False)), KEY)
    store = DatabaseReviews(journal.store)
    delivery = Delivery(case.archive, journal, store, interval=600)
    return Reviews(case.archive, journal, store, delivery, now=lambda: NOW)


def versions(case: ReviewCase) -> list[int]:
    with case.journal.store.read() as db:
        t = tables.review
        return list(db.execute(sa.select(t.c.version).where(t.c.finding == "cst").order_by(t.c.version)).scalars())


def test_exactly_one_of_two_wins(case: ReviewCase) -> None:
    other = second_node(case)
    for n in range(ROUNDS):
        verbs = (Verb.ACCEPT, Verb.REJECT) if n % 2 == 0 else (Verb.WITHDRAW, Verb.WITHDRAW)
        mine, theirs = (case.choice(0, verb, n) for verb in verbs)
        answers = at_once(
            lambda mine=mine, n=n: case.reviews.decide(case.study, f"anna-{n:04d}", [mine], ANNA),
            lambda theirs=theirs, n=n: other.decide(case.study, f"bert-{n:04d}", [theirs], BERT),
        )
        won = [a for a in answers if isinstance(a, Answered)]
        lost = [a for a in answers if isinstance(a, Conflict)]
        assert (len(won), len(lost)) == (1, 1), answers
        (stands,) = won[0].reviewed
        assert lost[0].current == (stands,), "the loser is told what stands"
        assert stands.version == n + 1
    assert versions(case) == list(range(1, ROUNDS + 1))
    assert not case.store.waiting()
    assert len(case.stored()) == len(case.store.history(case.study).objects) > 0


def test_decisions_on_different_findings_of_one_report_are_both_kept(case: ReviewCase) -> None:
    other = second_node(case)
    for n in range(ROUNDS):
        verb = Verb.ACCEPT if n % 2 == 0 else Verb.WITHDRAW
        first, second = case.choice(0, verb, n), case.choice(1, verb, n)
        answers = at_once(
            lambda first=first, n=n: case.reviews.decide(case.study, f"anna-{n:04d}", [first], ANNA),
            lambda second=second, n=n: other.decide(case.study, f"bert-{n:04d}", [second], BERT),
        )
        assert all(isinstance(a, Answered) for a in answers), answers
    standing = case.store.standing([case.job.key])[case.job.key]
    assert {r.version for r in standing.reviewed.values()} == {ROUNDS}
    revisions = [o.revision for o in standing.objects]
    assert revisions == sorted(revisions) and len(set(revisions)) == 2 * ROUNDS


def test_the_same_request_twice_at_once_is_kept_once(case: ReviewCase) -> None:
    other = second_node(case)
    for n in range(ROUNDS):
        choice = case.choice(0, Verb.ACCEPT if n % 2 == 0 else Verb.WITHDRAW, n)
        answers = at_once(
            lambda choice=choice, n=n: case.reviews.decide(case.study, f"same-{n:04d}", [choice], ANNA),
            lambda choice=choice, n=n: other.decide(case.study, f"same-{n:04d}", [choice], ANNA),
        )
        first, second = answers
        assert isinstance(first, Answered) and isinstance(second, Answered)
        assert first.reviewed == second.reviewed
        assert [o.uid for o in first.objects] == [o.uid for o in second.objects]
    assert versions(case) == list(range(1, ROUNDS + 1))


def test_what_is_kept_reads_back_and_the_chain_holds(case: ReviewCase) -> None:
    amendment = Amendment({"57109-1": 301.5}, points=None)
    answer = case.decide(case.choice(0, Verb.AMEND, amendment=amendment, comment="zu dünn"), request="keep-0001")
    assert isinstance(answer, Answered)
    (reviewed,) = case.store.standing([case.job.key])[case.job.key].reviewed.values()
    assert reviewed == answer.reviewed[0]
    assert (reviewed.state, reviewed.by, reviewed.comment) == (ReviewState.AMENDED, "anna", "zu dünn")
    assert reviewed.amendment == {"measurements": {"57109-1": 301.5}, "evaluations": {}, "points": None}
    case.decide(case.choice(0, Verb.WITHDRAW, 1), request="keep-0002")
    with case.journal.store.read() as db:
        kept = db.execute(sa.select(tables.review.c.amendment).order_by(tables.review.c.id)).scalars().all()
    assert kept[1] is None
    before, records = GENESIS, AuditTrail(case.journal.store).read()
    for n, record in enumerate(records, 1):
        assert record.seq == n and record.digest == seal(KEY, before, record.text)
        before = record.digest
    assert [r.content["kind"] for r in records].count("finding reviewed") == 2


def test_a_failure_in_the_middle_keeps_nothing(case: ReviewCase, monkeypatch: pytest.MonkeyPatch) -> None:
    """No decision without its audit record, and no record without its decision."""

    def broken(*_: Any) -> None:
        raise RuntimeError("no record")

    from airouter.adapters import reviews

    count = len(AuditTrail(case.journal.store).read())
    monkeypatch.setattr(reviews.audit, "append", broken)
    with pytest.raises(RuntimeError):
        case.decide(case.choice(0, Verb.ACCEPT))
    monkeypatch.undo()
    assert not case.store.history(case.study).reviewed and not case.store.waiting()
    assert len(AuditTrail(case.journal.store).read()) == count


KILLED = """
import os, signal, sys
from airouter.domain.review import Verb
from tests.review_case import ReviewCase

case = ReviewCase.of(sys.argv[1], "fundus phantom")
case.archive.store = lambda evidence: os.kill(os.getpid(), signal.SIGKILL)
case.decide(case.choice(0, Verb.ACCEPT), request="killed-0001")
print("still here")
"""


def test_a_process_killed_between_decision_and_archive_loses_nothing(case: ReviewCase) -> None:
    """SIGKILL at the first attempt to store: the next process finds decision, audit record and the finished object."""
    url = str(case.journal.store._url.render_as_string(hide_password=False))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, url], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
        env={**os.environ, "PYTHONPATH": f"{ROOT}/plugin:{ROOT}/scripts:{ROOT}"},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    (waiting,) = case.store.waiting()
    assert not case.stored()
    records = AuditTrail(case.journal.store).read()
    (told,) = [r.content for r in records if r.content["kind"] == "finding reviewed"]
    assert [o["uid"] for o in told["detail"]["outputs"]] == [waiting.object.uid]
    case.delivery.sweep()
    (stored,) = case.stored()
    assert stored.SOPInstanceUID == waiting.object.uid and stored.VerificationFlag == "VERIFIED"
    again = case.decide(case.choice(0, Verb.ACCEPT), request="killed-0001")
    assert isinstance(again, Answered) and again.objects[0].instance is not None
