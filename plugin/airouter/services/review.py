"""Review: a reader accepts, amends, rejects findings, or takes that back; each finding for itself.

A request is kept whole or not at all: decisions, the finished objects, audit records and the study's priority are one
transaction. The objects reach the archive after it (airouter.services.delivery). Every decision names the version of
the finding's state that the reader saw; of two readers at once one wins, and the other is told what stands now.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydicom.dataset import Dataset

from airouter.domain.amendment import amended, fault, merged
from airouter.domain.audit import AuditEvent, AuditKind
from airouter.domain.job import Job
from airouter.domain.review import Choice, Reviewed, ReviewState, Verb, after
from airouter.domain.role import Person
from airouter.errors import JournalUnavailable, NotInArchive
from airouter.evidence.reader import Reader
from airouter.evidence.sr import REGIONS, SCORES
from airouter.evidence.verified import tracking_uids
from airouter.ports import Archive, Journal, ResultRecord
from airouter.services.delivery import Delivery
from airouter.services.review_objects import REASONS, Decided, objects_of
from airouter.services.review_records import Answered, Entry, ReviewObject, ReviewStore, Standing

_ATTEMPTS: Final = 50  # others decide on the same job meanwhile


@dataclass(frozen=True, slots=True)
class Conflict:
    """A finding is not as the reader saw it: nothing was kept. `current`: how every finding named stands."""

    current: tuple[Reviewed | Choice, ...]


@dataclass(frozen=True, slots=True)
class Impossible:
    """The request makes no sense: nothing was kept."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked of one job."""

    job: Job
    result: ResultRecord
    standing: Standing
    choices: tuple[Choice, ...]


class Reviews:
    """Takes decisions. `now` is the clock."""

    def __init__(
        self,
        archive: Archive,
        journal: Journal,
        store: ReviewStore,
        delivery: Delivery,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._archive = archive
        self._journal = journal
        self._store = store
        self._delivery = delivery
        self._now = now

    def history(self, study_uid: str) -> Answered:
        """Every decision on a study and every object made, oldest first."""
        return self._store.history(study_uid)

    def standing(self, jobs: Sequence[str]) -> dict[str, Standing]:
        """How the findings of these jobs stand."""
        return self._store.standing(jobs)

    def decide(
        self, study_uid: str, request: str, choices: Sequence[Choice], person: Person
    ) -> Answered | Conflict | Impossible | None:
        """Keep the choices and make their objects; the same request of the same person again has the same answer.

        None where the study has no result. Raises NotInArchive where an object that is reviewed is gone.
        """
        if not person.name:
            return Impossible("only a person who is logged in by name reviews")
        reader = Reader(person.dicom_name or person.name, person.organization)
        for _ in range(_ATTEMPTS):
            before = self._store.answered(request, person.name)
            if before is not None:
                return _replayed(before, choices)
            asked = self._asked(study_uid, choices)
            if not isinstance(asked, list):
                return asked
            entry = self._entry(request, asked, person, person.name, reader)
            if isinstance(entry, Impossible):
                return entry
            if self._store.keep(entry):
                self._delivery.now(study_uid)
                return self._store.answered(request, person.name)
        raise JournalUnavailable("too many others review the same findings")

    # -- what is asked ------------------------------------------------------------------------------------------------

    def _asked(self, study_uid: str, choices: Sequence[Choice]) -> list[_Asked] | Conflict | Impossible | None:
        results = {result.job: result for result in self._journal.results(study_uid)}
        if not results:
            return None
        if not choices:
            return Impossible("nothing is decided")
        if len({(c.job, c.finding) for c in choices}) < len(choices):
            return Impossible("a finding is decided on twice")
        for choice in choices:
            if choice.job not in results:
                return Impossible(f"the study has no result of job {choice.job}")
            if all(f.get("key") != choice.finding for f in results[choice.job].findings):
                return Impossible(f"job {choice.job} has no finding {choice.finding}")
        jobs = sorted({choice.job for choice in choices})
        standing = self._store.standing(jobs)
        seen = {(c.job, c.finding): standing[c.job].reviewed.get(c.finding) for c in choices}
        if any(c.version != _version(seen[c.job, c.finding]) for c in choices):
            return Conflict(tuple(seen[c.job, c.finding] or c for c in choices))
        asked = []
        for key in jobs:
            record = self._journal.job(key)
            if record is None:
                return Impossible(f"job {key} is unknown")
            mine = tuple(c for c in choices if c.job == key)
            asked.append(_Asked(record.job, results[key], standing[key], mine))
        return asked

    # -- what follows -------------------------------------------------------------------------------------------------

    def _entry(
        self, request: str, asked: Sequence[_Asked], person: Person, by: str, reader: Reader
    ) -> Entry | Impossible:
        now = self._now()
        reviewed: list[Reviewed] = []
        objects: list[tuple[ReviewObject, bytes]] = []
        events: list[AuditEvent] = []
        for each in asked:
            images = self._images(each)
            decisions = _decisions(each, images, by, now)
            if isinstance(decisions, Impossible):
                return decisions
            decided = Decided(
                job=each.job,
                result=each.result,
                standing=each.standing,
                decisions=decisions,
                reports=self._reports(each.result),
                images=images,
                reader=reader,
                by=by,
                now=now,
                name=f"review|{by}|{request}",
            )
            if not decided.reports:
                return Impossible(f"job {each.job.key} wrote no report")
            made = objects_of(decided)
            reviewed += decisions
            objects += made
            events += _events(decided, request, person, [described for described, _ in made])
        first = asked[0].job
        return Entry(
            request=request,
            by=by,
            study_uid=first.study_uid,
            study_id=first.study_id,
            basis={each.job.key: each.standing.basis for each in asked},
            reviewed=tuple(reviewed),
            objects=tuple(objects),
            events=tuple(events),
        )

    def _reports(self, result: ResultRecord) -> dict[str, Dataset]:
        return {e.role: self._archive.header(e.instance) for e in result.evidence if e.role in (REGIONS, SCORES)}

    def _images(self, asked: _Asked) -> dict[str, Dataset]:
        """Headers of the images on which a region was or is amended."""
        redrawn = {c.finding for c in asked.choices if c.amendment is not None and c.amendment.points is not None}
        redrawn |= {k for k, r in asked.standing.reviewed.items() if (r.amendment or {}).get("points") is not None}
        regions = [f["region"] for f in asked.result.findings if f.get("key") in redrawn and f.get("region")]
        wanted = {str(region["source"]) for region in regions}
        return {s.uid: self._archive.header(s.id) for s in asked.job.sources if s.uid in wanted}


def _version(reviewed: Reviewed | None) -> int:
    return reviewed.version if reviewed is not None else 0


def _replayed(before: Answered, choices: Sequence[Choice]) -> Answered | Impossible:
    same = {(r.job, r.finding, r.verb) for r in before.reviewed} == {(c.job, c.finding, c.verb) for c in choices}
    return before if same else Impossible("this request was made already, with other decisions")


def _decisions(
    asked: _Asked, images: Mapping[str, Dataset], by: str, now: datetime
) -> tuple[Reviewed, ...] | Impossible:
    made = []
    for choice in asked.choices:
        finding = _finding(asked.result, choice.finding)
        before = asked.standing.reviewed.get(choice.finding)
        state = before.state if before is not None else ReviewState.PENDING
        then = after(state, choice.verb)
        if then is None:
            what = f"{choice.finding}: {choice.verb} means nothing for a finding that is {state}"
            return Impossible(f"{what}; withdraw the decision first" if choice.verb is not Verb.WITHDRAW else what)
        if wrong := _wrong(choice, finding, images):
            return Impossible(f"{choice.finding}: {wrong}")
        amendment = None
        if choice.amendment is not None:
            amendment = merged(before.amendment if before is not None else None, choice.amendment)
            if before is not None and before.amendment == amendment:
                return Impossible(f"{choice.finding}: nothing is changed")
        made.append(
            Reviewed(
                job=choice.job,
                finding=choice.finding,
                version=choice.version + 1,
                verb=choice.verb,
                state=then,
                by=by,
                at=now.isoformat(timespec="microseconds"),
                reason=choice.reason,
                comment=choice.comment,
                amendment=amendment,
            )
        )
    return tuple(made)


def _wrong(choice: Choice, finding: Mapping[str, Any], images: Mapping[str, Dataset]) -> str | None:
    if choice.verb is Verb.REJECT and choice.reason not in REASONS:
        return "a rejection needs one of the reasons of GET /ai/review-reasons"
    if choice.verb is not Verb.REJECT and choice.reason is not None:
        return "only a rejection has a reason"
    if (choice.verb is Verb.AMEND) != (choice.amendment is not None):
        return "an amendment comes with what is amended, nothing else does"
    if choice.amendment is None:
        return None
    region = finding.get("region")
    image = images.get(region["source"]) if region else None
    if choice.amendment.points is not None and region and image is None:
        raise NotInArchive(f"image {region['source']} of finding {choice.finding} is gone")
    return fault(finding, choice.amendment, _size(image) if image is not None else None)


def _size(image: Dataset) -> tuple[int, int]:
    """(columns, rows) that coordinates of a region may reach."""
    columns, rows = image.get("TotalPixelMatrixColumns"), image.get("TotalPixelMatrixRows")
    return int(columns or image.Columns), int(rows or image.Rows)


def _finding(result: ResultRecord, key: str) -> Mapping[str, Any]:
    return next(f for f in result.findings if f.get("key") == key)


def _events(decided: Decided, request: str, person: Person, objects: Sequence[ReviewObject]) -> Iterator[AuditEvent]:
    """One record for each decision: who, on what that was shown, from what to what, why, and what was written."""
    job, result = decided.job, decided.result
    shown = json.dumps(list(map(dict, result.findings)), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    reports = {
        uid: str(ds.SOPInstanceUID) for ds in decided.reports.values() for uid in tracking_uids(ds)
    }  # by Tracking UID
    patient = str(next(iter(decided.reports.values())).get("PatientID") or "") or None
    for each in decided.decisions:
        finding, before = decided.finding(each.finding), decided.standing.reviewed.get(each.finding)
        tracking_uid = job.tracking_uid(each.finding)
        detail = {
            "request": request,
            "job": job.key,
            "pipeline": f"{job.pipeline} {job.pipeline_version}",
            "model": {"name": job.model, "version": job.model_version, "sha256": job.model_sha256},
            "finding": each.finding,
            "tracking_uid": tracking_uid,
            "report": reports.get(tracking_uid),
            "shown_sha256": hashlib.sha256(shown.encode()).hexdigest(),
            "verb": each.verb.value,
            "version": each.version,
            "reason": each.reason,
            # In the reader's own words, which may name the patient: the trail only shows whether it was changed.
            "comment_sha256": hashlib.sha256(each.comment.encode()).hexdigest() if each.comment else None,
            "before": _told(finding, before),
            "after": _told(finding, each),
            "outputs": [{"role": o.role, "sop_class": o.sop_class, "uid": o.uid} for o in objects],
        }
        yield AuditEvent(
            AuditKind.REVIEW,
            user=decided.by,
            roles=tuple(role.value for role in person.roles),
            study_uid=job.study_uid,
            patient_id=patient,
            detail=detail,
        )


def _told(finding: Mapping[str, Any], reviewed: Reviewed | None) -> dict[str, Any]:
    state = reviewed.state if reviewed is not None else ReviewState.PENDING
    return {"state": state.value, **amended(finding, reviewed.amendment if reviewed is not None else None)}
