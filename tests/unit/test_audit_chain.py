"""The chain of the audit trail: whatever is done to it without its key is found."""

import dataclasses
import json
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airouter.domain.audit import GENESIS, AuditEvent, AuditKind, AuditRecord, Outcome, head, seal, text
from airouter.domain.audit_chain import Anchor, Broken, Verified, genuine, verify
from airouter.domain.audit_lines import anchor, head_line, parse, record_line

KEY, OTHER = b"k" * 32, b"o" * 32


def trail(count: int, key: bytes = KEY) -> list[AuditRecord]:
    """An honest trail."""
    records: list[AuditRecord] = []
    before = GENESIS
    kinds = list(AuditKind)
    for seq in range(1, count + 1):
        event = AuditEvent(
            kinds[seq % len(kinds)],
            user=f"user{seq % 3}" if seq % 4 else None,
            roles=("reader", "governance"),
            study_uid=f"1.2.{seq % 5}" if seq % 2 else None,
            patient_id=f"P{seq % 5}" if seq % 2 else None,
            outcome=list(Outcome)[seq % 4],
            detail={"seq": seq * 7, "text": 'ünïcode \u2028 "quoted" \n', "list": [1.5, None, True]},
        )
        at = f"2026-11-29T06:00:{seq % 60:02}.000000+00:00"
        line = text(event, seq, at)
        digest = seal(key, before, line)
        columns = (event.kind.value, event.study_uid, event.patient_id, event.user)
        records.append(AuditRecord(seq, at, line, digest, columns))
        before = digest
    return records


HONEST = trail(40)


def last_of(records: list[AuditRecord]) -> list[Anchor]:
    return [Anchor(records[-1].seq, records[-1].digest)]


def test_an_honest_trail_is_whole() -> None:
    assert verify(HONEST, KEY, last_of(HONEST)) == Verified(40, HONEST[-1].digest, 40)
    assert verify([], KEY) == Verified(0, GENESIS, 0)
    assert verify(HONEST, KEY, [Anchor(7, HONEST[6].digest)]) == Verified(40, HONEST[-1].digest, 7)


# -- ten thousand manipulations ----------------------------------------------------------------------------------------

Manipulation = Callable[[random.Random, list[AuditRecord]], list[AuditRecord]]


def edit_text(rng: random.Random, records: list[AuditRecord]) -> list[AuditRecord]:
    n = rng.randrange(len(records))
    line = records[n].text
    at = rng.randrange(len(line))
    other = chr((ord(line[at]) + rng.randrange(1, 90) - 32) % 95 + 32)
    changed = line[:at] + (other if other != line[at] else "~") + line[at + 1 :]
    if changed == line:
        changed = line + " "
    return [*records[:n], dataclasses.replace(records[n], text=changed), *records[n + 1 :]]


def edit_a_value(rng: random.Random, records: list[AuditRecord]) -> list[AuditRecord]:
    """As somebody would who rewrites the JSON well."""
    n = rng.randrange(len(records))
    content = records[n].content | {rng.choice(["user", "study", "kind", "at"]): f"forged {rng.random()}"}
    line = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return [*records[:n], dataclasses.replace(records[n], text=line), *records[n + 1 :]]


def edit_and_seal_with_another_key(rng: random.Random, records: list[AuditRecord]) -> list[AuditRecord]:
    """The whole rest of the chain written anew."""
    n = rng.randrange(len(records))
    before = records[n - 1].digest if n else GENESIS
    forged = records[:n]
    for record in records[n:]:
        line = record.text.replace('"outcome":', '"outcome": ', 1) if record is records[n] else record.text
        before = seal(OTHER, before, line)
        forged.append(dataclasses.replace(record, text=line, digest=before))
    return forged


def edit_digest(rng: random.Random, records: list[AuditRecord]) -> list[AuditRecord]:
    n = rng.randrange(len(records))
    at = rng.randrange(64)
    digest = records[n].digest
    digit = format((int(digest[at], 16) + rng.randrange(1, 16)) % 16, "x")
    changed = dataclasses.replace(records[n], digest=digest[:at] + digit + digest[at + 1 :])
    return [*records[:n], changed, *records[n + 1 :]]


def edit_beside(rng: random.Random, records: list[AuditRecord]) -> list[AuditRecord]:
    """What stands beside the text, by which records are found."""
    n = rng.randrange(len(records))
    columns = list(records[n].columns or ())
    columns[rng.randrange(4)] = f"forged {rng.random()}"
    changed = rng.choice(
        [
            dataclasses.replace(records[n], columns=tuple(columns)),
            dataclasses.replace(records[n], at="2020-01-01T00:00:00.000000+00:00"),
            dataclasses.replace(records[n], seq=records[n].seq + rng.choice([-1, 1, 100])),
        ]
    )
    return [*records[:n], changed, *records[n + 1 :]]


def delete(rng: random.Random, records: list[AuditRecord]) -> list[AuditRecord]:
    gone = set(rng.sample(range(len(records)), rng.randrange(1, 4)))
    return [r for n, r in enumerate(records) if n not in gone]


def delete_and_renumber(rng: random.Random, records: list[AuditRecord]) -> list[AuditRecord]:
    n = rng.randrange(len(records) - 1)
    return [*records[:n], *(dataclasses.replace(r, seq=r.seq - 1) for r in records[n + 1 :])]


def insert(rng: random.Random, records: list[AuditRecord]) -> list[AuditRecord]:
    n = rng.randrange(len(records) + 1)
    return [*records[:n], dataclasses.replace(rng.choice(records)), *records[n:]]


def insert_and_renumber(rng: random.Random, records: list[AuditRecord]) -> list[AuditRecord]:
    n = rng.randrange(len(records))
    put = dataclasses.replace(rng.choice(records), seq=n + 1)
    return [*records[:n], put, *(dataclasses.replace(r, seq=r.seq + 1) for r in records[n:])]


def swap(rng: random.Random, records: list[AuditRecord]) -> list[AuditRecord]:
    a, b = rng.sample(range(len(records)), 2)
    changed = list(records)
    changed[a], changed[b] = records[b], records[a]
    return changed


def swap_contents(rng: random.Random, records: list[AuditRecord]) -> list[AuditRecord]:
    a, b = rng.sample(range(len(records)), 2)
    changed = list(records)
    changed[a] = dataclasses.replace(records[b], seq=records[a].seq)
    changed[b] = dataclasses.replace(records[a], seq=records[b].seq)
    return changed


def cut(rng: random.Random, records: list[AuditRecord]) -> list[AuditRecord]:
    return records[: rng.randrange(len(records))]


def cut_and_go_on(rng: random.Random, records: list[AuditRecord]) -> list[AuditRecord]:
    """An old copy of the database was put back, and the router, which has the key, went on from there."""
    n = rng.randrange(len(records) - 1)
    before, forged = (records[n - 1].digest if n else GENESIS), records[:n]
    for record in records[n:]:
        line = text(AuditEvent(AuditKind.VIEW, detail={"r": rng.random()}), record.seq, record.at)
        before = seal(KEY, before, line)
        forged.append(AuditRecord(record.seq, record.at, line, before))
    return forged


MANIPULATIONS: list[Manipulation] = [
    edit_text, edit_a_value, edit_and_seal_with_another_key, edit_digest, edit_beside, delete, delete_and_renumber,
    insert, insert_and_renumber, swap, swap_contents, cut, cut_and_go_on,
]  # fmt: skip


def test_ten_thousand_manipulations_are_all_found() -> None:
    rng = random.Random(6)
    anchors = last_of(HONEST)
    missed = []
    for n in range(10_000):
        manipulation = MANIPULATIONS[n % len(MANIPULATIONS)]
        changed = manipulation(rng, HONEST)
        assert changed != HONEST, manipulation.__name__
        if not isinstance(verify(changed, KEY, anchors), Broken):
            missed.append((n, manipulation.__name__))
    assert missed == []


@given(st.integers(0, 39), st.text(min_size=1, max_size=5))
def test_the_first_record_that_was_changed_is_named(n: int, more: str) -> None:
    changed = [*HONEST[:n], dataclasses.replace(HONEST[n], text=HONEST[n].text + more), *HONEST[n + 1 :]]
    found = verify(changed, KEY)
    assert isinstance(found, Broken)
    assert found.seq == n + 1


def test_what_is_wrong_is_said() -> None:
    cases = [
        (HONEST[:3] + HONEST[4:], 4, "missing: the next record has the number 5"),
        (HONEST[:10], 11, "missing: the trail ends before it, and an anchor names record 40"),
        ([*HONEST[:2], HONEST[1], *HONEST[2:]], 2, "out of order, or there twice"),
    ]
    for records, seq, why in cases:
        assert verify(records, KEY, last_of(HONEST)) == Broken(seq, why)


def test_without_an_anchor_a_cut_end_cannot_show() -> None:
    """Why there are anchors."""
    assert isinstance(verify(HONEST[:10], KEY), Verified)


def test_two_anchors_that_contradict_each_other_tell_of_two_trails() -> None:
    found = verify(HONEST, KEY, [Anchor(3, HONEST[2].digest), Anchor(3, "0" * 64)])
    assert isinstance(found, Broken)
    assert found.seq == 3


def test_another_key_opens_nothing() -> None:
    found = verify(HONEST, OTHER)
    assert isinstance(found, Broken)
    assert found.seq == 1


def test_a_head_is_signed() -> None:
    made = head(KEY, 40, HONEST[-1].digest, "2026-11-29T06:00:00+00:00")
    assert genuine(made, KEY)
    assert not genuine(made, OTHER)
    for change in ({"seq": 39}, {"digest": "0" * 64}, {"at": "2026-11-29T06:00:01+00:00"}, {"signature": "é"}):
        assert not genuine(dataclasses.replace(made, **change), KEY)  # type: ignore[arg-type]


# -- lines ------------------------------------------------------------------------------------------------------------


def test_lines_come_back_to_the_letter() -> None:
    records = [dataclasses.replace(r, columns=None) for r in HONEST]
    assert [parse(record_line(r) + "\n") for r in records] == records
    made = head(KEY, 40, HONEST[-1].digest, "2026-11-29T06:00:00+00:00")
    assert parse(head_line(made)) == made
    assert anchor(records[3]) == Anchor(4, records[3].digest)
    assert json.loads(record_line(records[0]))["record"]["kind"] == records[0].content["kind"]


@pytest.mark.parametrize(
    "line",
    ["", "{", "null", "[]", '{"head":1}', '{"head":{"seq":"x"}}', '{"record":{},"digest":"' + "0" * 64 + '"}'],
)
def test_half_a_line_is_passed_over(line: str) -> None:
    assert parse(line) is None
    whole = record_line(HONEST[0])
    assert all(parse(whole[:n]) is None for n in range(len(whole)))
