"""Accept, amend, reject, withdraw: what is kept, what is written, and what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from airouter.adapters import tables
from airouter.adapters.audit import AuditTrail
from airouter.domain.priority import Priority
from airouter.domain.review import Amendment, ReviewState, Verb
from airouter.domain.role import Person, Role
from airouter.errors import NotInArchive
from airouter.services.review import Conflict, Impossible
from airouter.services.review_records import Answered
from tests.dciodvfy import assert_conformant
from tests.review_case import ANNA, BERT, KEY_OBJECTS, REPORT, ReviewCase, group_uids, titles


@pytest.fixture(params=["slide phantom", "fundus phantom", "oct phantom"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReviewCase]:
    made = ReviewCase.of(f"sqlite:///{tmp_path}/journal.db", request.param)
    yield made
    made.close()


@pytest.fixture
def slide(tmp_path: Path) -> Iterator[ReviewCase]:
    made = ReviewCase.of(f"sqlite:///{tmp_path}/journal.db")
    yield made
    made.close()


def predecessor(ds: Any) -> tuple[str, str]:
    (instance,) = ds.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    return str(instance.ReferencedSOPInstanceUID), str(instance.PurposeOfReferenceCodeSequence[0].CodeValue)


def description(ds: Any) -> str:
    named = [i for i in ds.ContentSequence if "ConceptNameCodeSequence" in i]
    return str(next(i.TextValue for i in named if i.ConceptNameCodeSequence[0].CodeValue == "113012"))


def audited(case: ReviewCase) -> list[dict[str, Any]]:
    records = AuditTrail(case.journal.store).read()
    return [r.content for r in records if r.content["kind"] == "finding reviewed"]


def test_acceptance_stores_a_verified_report(case: ReviewCase) -> None:
    answer = case.decide(*(case.choice(n, Verb.ACCEPT) for n in range(len(case.keys))))
    assert isinstance(answer, Answered)
    assert {(r.finding, r.state, r.version, r.by) for r in answer.reviewed} == {
        (key, ReviewState.ACCEPTED, 1, "anna") for key in case.keys
    }
    stored = case.stored()
    assert [str(d.SOPInstanceUID) for d in stored] == [o.uid for o in answer.objects]
    assert all(o.instance for o in answer.objects) and not case.store.waiting()
    roles = [role for role in ("report", "scores") if role in case.objects]
    assert [o.role for o in answer.objects] == [f"verified {role}" for role in roles]
    for role, ds in zip(roles, stored, strict=True):
        assert_conformant(ds)
        assert (ds.VerificationFlag, ds.PreliminaryFlag, ds.CompletionFlag) == ("VERIFIED", "FINAL", "COMPLETE")
        assert predecessor(ds) == (case.objects[role].SOPInstanceUID, "121362")
        assert group_uids(ds) == group_uids(case.objects[role])
    assert case.journal.ours([o.uid for o in answer.objects]) == {o.uid for o in answer.objects}


def test_findings_are_accepted_one_by_one_in_revisions(slide: ReviewCase) -> None:
    first, second = slide.job.tracking_uid(slide.keys[0]), slide.job.tracking_uid(slide.keys[1])
    slide.decide(slide.choice(0, Verb.ACCEPT))
    slide.decide(slide.choice(1, Verb.ACCEPT), person=BERT)
    one, two = slide.stored(REPORT)
    assert (group_uids(one), group_uids(two)) == ({first}, {first, second})
    assert predecessor(two) == (one.SOPInstanceUID, "121360")
    assert str(two.VerifyingObserverSequence[0].VerifyingObserverName) == "Kurz^Bert"
    slide.decide(slide.choice(0, Verb.WITHDRAW, 1))
    third = slide.stored(REPORT)[2]
    assert group_uids(third) == {second} and predecessor(third) == (two.SOPInstanceUID, "121360")
    slide.decide(slide.choice(1, Verb.WITHDRAW, 1))
    (taken_back,) = slide.stored(KEY_OBJECTS)
    assert titles([taken_back]) == ["113001"]
    assert taken_back.ContentSequence[-1].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == third.SOPInstanceUID
    slide.decide(slide.choice(0, Verb.ACCEPT, 2))
    again = slide.stored(REPORT)[3]
    assert predecessor(again) == (slide.objects["report"].SOPInstanceUID, "121362")
    for ds in slide.stored():
        assert_conformant(ds)


def test_all_rejected_is_a_selection_of_everything(case: ReviewCase) -> None:
    answer = case.decide(*(case.choice(n, Verb.REJECT, comment="Pinselstrich") for n in range(len(case.keys))))
    assert [o.role for o in answer.objects] == ["rejection"]
    (ds,) = case.stored()
    assert_conformant(ds)
    listed = {
        i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in ds.ContentSequence if "ReferencedSOPSequence" in i
    }
    assert listed == {d.SOPInstanceUID for d in case.objects.values()}
    text = description(ds)
    for key in case.keys:
        assert case.job.tracking_uid(key) in text
    assert "False positive (REJECT-FALSE, 99ORTAI)" in text and "Pinselstrich" in text


def test_one_rejected_finding_is_named_beside_its_report(slide: ReviewCase) -> None:
    slide.decide(slide.choice(0, Verb.REJECT, reason="REJECT-PLACE"))
    (ds,) = slide.stored()
    (listed,) = [i for i in ds.ContentSequence if "ReferencedSOPSequence" in i]
    assert listed.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == slide.objects["report"].SOPInstanceUID
    text = description(ds)
    assert slide.job.tracking_uid(slide.keys[0]) in text and slide.job.tracking_uid(slide.keys[1]) not in text
    (reason,) = [i for i in ds.ContentSequence if i.ValueType == "CODE" and i.RelationshipType == "HAS CONCEPT MOD"]
    assert reason.ConceptCodeSequence[0].CodeValue == "REJECT-PLACE"


def test_a_rejection_is_withdrawn_by_a_selection_of_the_same(slide: ReviewCase) -> None:
    slide.decide(slide.choice(0, Verb.REJECT), slide.choice(1, Verb.REJECT, reason="REJECT-VALUE"))
    slide.decide(slide.choice(0, Verb.WITHDRAW, 1))
    whole, withdrawn, left = slide.stored()
    assert titles([whole, withdrawn, left]) == ["113001", "131360", "113001"]

    def listed(ds: Any) -> set[str]:
        return {
            str(i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
            for i in ds.ContentSequence
            if "ReferencedSOPSequence" in i
        }

    assert listed(whole) == listed(withdrawn) == {d.SOPInstanceUID for d in slide.objects.values()}
    assert listed(left) == {slide.objects["report"].SOPInstanceUID}, "what is still rejected is said again"
    texts = [description(ds) for ds in (withdrawn, left)]
    first, second = (slide.job.tracking_uid(key) for key in slide.keys)
    assert first in texts[0] and second not in texts[0]
    assert second in texts[1] and first not in texts[1]
    for ds in (whole, withdrawn, left):
        assert_conformant(ds)


def test_an_amendment_stands_until_it_is_taken_back(slide: ReviewCase) -> None:
    def number(ds: Any, concept: str) -> float:
        container = next(i for i in ds.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010")
        for group in container.ContentSequence:
            for item in group.get("ContentSequence", ()):
                if item.ValueType == "NUM" and item.ConceptNameCodeSequence[0].CodeValue == concept:
                    return float(item.MeasuredValueSequence[0].NumericValue)
        raise AssertionError(concept)

    slide.decide(slide.choice(0, Verb.AMEND, amendment=Amendment({"29593-1": 12.5})))
    triangle = np.array([[5.0, 5.0], [90.0, 5.0], [90.0, 60.0]])
    slide.decide(slide.choice(0, Verb.AMEND, 1, amendment=Amendment({"NUCLEI-COUNT": 17}, points=triangle)))
    first, second = slide.stored(REPORT)
    assert number(first, "29593-1") == number(second, "29593-1") == 12.5
    assert (number(first, "NUCLEI-COUNT"), number(second, "NUCLEI-COUNT")) == (1234, 17)
    slide.decide(slide.choice(1, Verb.ACCEPT))  # the amended region is drawn again in every later revision
    assert "drawn by the reader" in slide.stored(REPORT)[2].to_json()
    slide.decide(slide.choice(0, Verb.WITHDRAW, 2))
    slide.decide(slide.choice(0, Verb.ACCEPT, 3))
    last = slide.stored(REPORT)[-1]
    assert number(last, "29593-1") == 21.4
    assert "drawn by the reader" not in last.to_json()
    for ds in slide.stored():
        assert_conformant(ds)


def test_the_audit_trail_has_every_decision(slide: ReviewCase) -> None:
    answer = slide.decide(slide.choice(0, Verb.AMEND, amendment=Amendment({"29593-1": 12.5}), comment="Herr Meier"))
    slide.decide(slide.choice(1, Verb.REJECT, reason="REJECT-QUALITY"), person=BERT)
    first, second = audited(slide)
    assert (first["user"], first["roles"], first["study"]) == ("anna", ["reader"], slide.study)
    assert first["patient"] == slide.objects["report"].PatientID
    detail = first["detail"]
    assert (detail["verb"], detail["before"]["state"], detail["after"]["state"]) == ("amend", "pending", "amended")
    assert detail["before"]["measurements"]["29593-1"] == 21.4
    assert detail["after"]["measurements"]["29593-1"] == 12.5
    assert detail["tracking_uid"] == slide.job.tracking_uid(slide.keys[0])
    assert detail["report"] == slide.objects["report"].SOPInstanceUID
    assert detail["model"]["sha256"] == slide.job.model_sha256
    assert [o["uid"] for o in detail["outputs"]] == [o.uid for o in answer.objects]
    assert len(detail["shown_sha256"]) == 64 and detail["shown_sha256"] == second["detail"]["shown_sha256"]
    assert "Meier" not in json.dumps(first) and len(detail["comment_sha256"]) == 64
    assert (second["user"], second["detail"]["reason"]) == ("bert", "REJECT-QUALITY")


def test_a_stale_version_is_a_conflict_and_nothing_is_kept(slide: ReviewCase) -> None:
    slide.decide(slide.choice(0, Verb.ACCEPT))
    count = len(slide.stored())
    found = slide.decide(slide.choice(0, Verb.REJECT), slide.choice(1, Verb.ACCEPT), person=BERT)
    assert isinstance(found, Conflict)
    states = {(c.finding, c.version, getattr(c, "state", None)) for c in found.current}
    assert states == {(slide.keys[0], 1, ReviewState.ACCEPTED), (slide.keys[1], 0, None)}
    assert len(slide.stored()) == count and len(audited(slide)) == 1
    assert set(slide.store.standing([slide.job.key])[slide.job.key].reviewed) == {slide.keys[0]}


def test_the_same_request_again_is_answered_alike(slide: ReviewCase) -> None:
    choice = slide.choice(0, Verb.ACCEPT)
    first = slide.decide(choice, request="r-1")
    again = slide.decide(choice, request="r-1")
    assert again == first and len(slide.stored()) == 1 and len(audited(slide)) == 1
    other = slide.decide(slide.choice(0, Verb.REJECT), request="r-1")
    assert isinstance(other, Impossible) and "other decisions" in other.reason
    # Another person's request of the same name is another one.
    assert isinstance(slide.decide(slide.choice(1, Verb.ACCEPT), person=BERT, request="r-1"), Answered)
    assert len(slide.stored()) == 2


@pytest.mark.parametrize(
    ("verb", "more", "why"),
    [
        (Verb.REJECT, {"reason": None}, "needs one of the reasons"),
        (Verb.REJECT, {"reason": "because"}, "needs one of the reasons"),
        (Verb.ACCEPT, {"reason": "REJECT-FALSE"}, "only a rejection"),
        (Verb.AMEND, {}, "comes with what is amended"),
        (Verb.ACCEPT, {"amendment": Amendment({"29593-1": 1.0})}, "comes with what is amended"),
        (Verb.AMEND, {"amendment": Amendment()}, "nothing is amended"),
        (Verb.AMEND, {"amendment": Amendment({"29593-1": 100.5})}, "is above 100"),
        (Verb.AMEND, {"amendment": Amendment({"29593-1": float("nan")})}, "finite"),
        (Verb.AMEND, {"amendment": Amendment({"NUCLEI-COUNT": 1.5})}, "whole number"),
        (Verb.AMEND, {"amendment": Amendment({"NUCLEI-DENSITY": -1.0})}, "is below 0"),
        (Verb.AMEND, {"amendment": Amendment({"118565006": 1.0})}, "has not one measurement"),
        (Verb.AMEND, {"amendment": Amendment({}, {"44648-4": "x"})}, "has not one evaluation"),
        (Verb.AMEND, {"amendment": Amendment(points=np.array([[1.0, 1.0], [2.0, 2.0]]))}, "at least 3"),
        (Verb.AMEND, {"amendment": Amendment(points=np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]))}, "an area"),
        (Verb.AMEND, {"amendment": Amendment(points=np.array([[1, 1], [2, 2], [1.0, 9e9]]))}, "outside the image"),
        (Verb.AMEND, {"amendment": Amendment(points=np.array([[1, 1], [2, 2], [1.0, np.nan]]))}, "finite"),
        (Verb.WITHDRAW, {}, "means nothing"),
    ],
)
def test_what_makes_no_sense_is_refused(slide: ReviewCase, verb: Verb, more: dict[str, Any], why: str) -> None:
    found = slide.decide(slide.choice(0, verb, **more))
    assert isinstance(found, Impossible) and why in found.reason, found
    assert not slide.stored() and not audited(slide)


def test_a_finding_without_a_region_gets_none(slide: ReviewCase) -> None:
    found = slide.decide(slide.choice(1, Verb.AMEND, amendment=Amendment(points=np.ones((3, 2)))))
    assert isinstance(found, Impossible) and "no region" in found.reason


def test_what_is_decided_is_withdrawn_first(slide: ReviewCase) -> None:
    slide.decide(slide.choice(0, Verb.REJECT))
    found = slide.decide(slide.choice(0, Verb.ACCEPT, 1))
    assert isinstance(found, Impossible) and "withdraw the decision first" in found.reason
    amendment = Amendment({"42798000": 1.5})
    slide.decide(slide.choice(1, Verb.AMEND, amendment=amendment))
    found = slide.decide(slide.choice(1, Verb.AMEND, 1, amendment=amendment))
    assert isinstance(found, Impossible) and "nothing is changed" in found.reason


def test_unknown_things_are_refused(slide: ReviewCase) -> None:
    choice = slide.choice(0, Verb.ACCEPT)
    assert slide.reviews.decide("9.9", "r", [choice], ANNA) is None
    for wrong in (
        [],
        [choice, choice],
        [type(choice)("f" * 64, choice.finding, 0, Verb.ACCEPT)],
        [type(choice)(choice.job, "nothing", 0, Verb.ACCEPT)],
    ):
        assert isinstance(slide.reviews.decide(slide.study, "r", wrong, ANNA), Impossible)
    assert not slide.stored()


def test_the_machine_and_nobody_decide_nothing(slide: ReviewCase) -> None:
    for nobody in (Person(None, frozenset({Role.READER})), Person("", frozenset({Role.READER}))):
        found = slide.decide(slide.choice(0, Verb.ACCEPT), person=nobody)
        assert isinstance(found, Impossible) and "logged in" in found.reason
    assert not slide.stored()


def test_rejecting_what_made_it_urgent_takes_the_priority_back(slide: ReviewCase) -> None:
    assert slide.journal.verdict(slide.study).priority is Priority.HIGH
    slide.decide(slide.choice(0, Verb.REJECT))
    verdict = slide.journal.verdict(slide.study)
    assert verdict.priority is not Priority.HIGH
    assert slide.archive.marks[slide.job.study_id]["priority"] == verdict.priority.value
    slide.decide(slide.choice(0, Verb.WITHDRAW, 1))
    assert slide.journal.verdict(slide.study).priority is Priority.HIGH
    assert slide.archive.marks[slide.job.study_id]["priority"] == "HIGH"


def test_what_the_archive_does_not_take_is_delivered_later(slide: ReviewCase) -> None:
    slide.archive.failures = 1
    answer = slide.decide(slide.choice(0, Verb.REJECT), slide.choice(1, Verb.ACCEPT))
    assert [o.instance for o in answer.objects] == [None, None]
    assert len(slide.store.waiting()) == 2 and not slide.stored()
    slide.delivery.sweep()
    assert not slide.store.waiting() and len(slide.stored()) == 2
    assert slide.archive.marks[slide.job.study_id]["priority"] != "HIGH"
    with slide.journal.store.read() as db:
        rows = db.execute(sa.select(tables.review_object.c.content, tables.review_object.c.instance)).all()
    assert all(content is None and instance for content, instance in rows)


def test_a_crash_after_storing_stores_nothing_twice(slide: ReviewCase) -> None:
    """The archive has the object, the database does not know it yet."""
    slide.archive.failures = 1
    slide.decide(slide.choice(0, Verb.ACCEPT))
    (waiting,) = slide.store.waiting()
    slide.delivery.sweep()
    o = tables.review_object
    with slide.journal.store.write() as db:
        db.execute(o.update().values(content=waiting.content, instance=None))
    slide.delivery.sweep()
    assert len(slide.stored()) == 1 and not slide.store.waiting()


def test_a_deleted_study_is_not_brought_back(slide: ReviewCase) -> None:
    slide.archive.failures = 1
    slide.decide(slide.choice(0, Verb.ACCEPT))
    slide.archive.delete_study(slide.job.study_id)
    slide.delivery.sweep()
    with pytest.raises(NotInArchive):
        slide.archive.study(slide.job.study_id)
    assert len(slide.store.waiting()) == 1, "kept, in case that the study is sent again"
    with pytest.raises(NotInArchive):
        slide.decide(slide.choice(1, Verb.ACCEPT))


def test_a_study_deleted_while_it_is_stored_stays_deleted(slide: ReviewCase, monkeypatch: pytest.MonkeyPatch) -> None:
    store = slide.archive.store

    def deleted_first(evidence: Any) -> str:
        slide.archive.delete_study(slide.job.study_id)
        return store(evidence)

    monkeypatch.setattr(slide.archive, "store", deleted_first)
    slide.decide(slide.choice(0, Verb.ACCEPT))
    with pytest.raises(NotInArchive):
        slide.archive.study(slide.job.study_id)


def test_many_deleted_studies_do_not_stand_in_the_way(slide: ReviewCase, tmp_path: Path) -> None:
    slide.archive.failures = 1
    slide.decide(slide.choice(0, Verb.ACCEPT))
    o = tables.review_object
    with slide.journal.store.write() as db:  # more than are read at once, of a job whose study is gone
        (row,) = db.execute(sa.select(o)).mappings().all()
        gone = slide.journal.job(slide.job.key)
        assert gone is not None
        content = db.execute(sa.select(tables.job.c.content)).scalar_one()
        db.execute(
            tables.job.insert().values(
                key="gone", study_uid="1.9", study_id="gone", content=content | {"key": "gone", "study_id": "gone"},
                state="COMPLETED", created="2026", attempts=1,
            )
        )  # fmt: skip
        db.execute(o.delete())
        for n in range(150):
            db.execute(o.insert().values({**row, "id": n + 1, "uid": f"2.25.{n}", "job": "gone", "study_uid": "1.9"}))
        db.execute(o.insert().values({**row, "id": 1000}))
    slide.delivery.sweep()
    assert len(slide.stored()) == 1


def test_the_history_tells_all(slide: ReviewCase) -> None:
    slide.decide(slide.choice(0, Verb.ACCEPT))
    slide.decide(slide.choice(0, Verb.WITHDRAW, 1), person=BERT)
    history = slide.reviews.history(slide.study)
    assert [(r.version, r.verb, r.by) for r in history.reviewed] == [
        (1, Verb.ACCEPT, "anna"), (2, Verb.WITHDRAW, "bert")
    ]  # fmt: skip
    assert [o.role for o in history.objects] == ["verified report", "retraction report"]
