"""Which objects follow from a decision on one job's findings, and their making.

Each report of the job has a chain of verified revisions. A revision follows where other findings stand accepted than
before, or with other values; where none does any more, the last revision is rejected. Rejected findings are named in
key object selections: where all are, the selection lists every object of the job, else the reports that hold them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydicom.dataset import Dataset

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.job import Job
from airouter.domain.review import Reviewed, ReviewState, Verb
from airouter.evidence.encoding import encode
from airouter.evidence.key_object import Listed, selection
from airouter.evidence.reader import Reader
from airouter.evidence.sr import REGIONS, SCORES
from airouter.evidence.verified import Accepted, Predecessor, refers_to_results, tracking_uids, verified
from airouter.ports import ResultRecord, StoredEvidence
from airouter.services.review_records import ReviewObject, Standing

_STANDS: Final = (ReviewState.ACCEPTED, ReviewState.AMENDED)
REASONS: Final[Mapping[str, Code]] = {code.value: code for code in codes.REJECTIONS}

# Of each finding of the job, by key: its state, the amendment that stands, the reason and comment of its rejection.
States = Mapping[str, Reviewed]


@dataclass(frozen=True, slots=True)
class Decided:
    """Decisions on one job. `reports`: its stored reports by role; `images`: headers of the images on which regions
    were amended, by SOP Instance UID; `name`: what the UIDs of this request's objects derive from."""

    job: Job
    result: ResultRecord
    standing: Standing
    decisions: tuple[Reviewed, ...]
    reports: Mapping[str, Dataset]
    images: Mapping[str, Dataset]
    reader: Reader
    by: str
    now: datetime
    name: str

    @property
    def after(self) -> dict[str, Reviewed]:
        return {**self.standing.reviewed, **{each.finding: each for each in self.decisions}}

    @property
    def revision(self) -> int:
        return max((o.revision for o in self.standing.objects), default=0) + 1

    def finding(self, key: str) -> Mapping[str, Any]:
        return next(f for f in self.result.findings if f["key"] == key)

    def keys_in(self, role: str) -> list[str]:
        """Findings that a report holds."""
        there = tracking_uids(self.reports[role])
        return [f["key"] for f in self.result.findings if self.job.tracking_uid(f["key"]) in there]


def objects_of(decided: Decided) -> list[tuple[ReviewObject, bytes]]:
    """The objects, finished, as Part 10 bytes. Raises EvidenceError."""
    made = []
    for role, ds in [*_revisions(decided), *_selections(decided)]:
        described = ReviewObject(
            uid=str(ds.SOPInstanceUID),
            series_uid=str(ds.SeriesInstanceUID),
            sop_class=str(ds.SOPClassUID),
            study_uid=decided.job.study_uid,
            job=decided.job.key,
            role=role,
            revision=decided.revision,
            by=decided.by,
            made=decided.now.isoformat(timespec="microseconds"),
        )
        made.append((described, b"".join(encode(ds))))
    return made


def standing_revision(objects: Sequence[ReviewObject], role: str) -> ReviewObject | None:
    """The verified revision of a report that stands, None where there is none or it was taken back."""
    found: ReviewObject | None = None
    for each in objects:
        if each.role == f"verified {role}":
            found = each
        elif each.role == f"retraction {role}":
            found = None
    return found


# -- verified reports --------------------------------------------------------------------------------------------------


def _revisions(decided: Decided) -> Iterator[tuple[str, Dataset]]:
    for role in (REGIONS, SCORES):
        if role not in decided.reports:
            continue
        before, after = (_accepted(decided, role, s) for s in (decided.standing.reviewed, decided.after))
        if before == after:
            continue
        former = standing_revision(decided.standing.objects, role)
        accepted, whole = after
        if accepted:
            name = f"verified {role}"
            yield name, _verified(decided, role, name, accepted, whole, former)
        elif former is not None:
            name = f"retraction {role}"
            text = "Verification withdrawn: no finding of this report stands accepted."
            listed = [Listed(former.sop_class, former.uid, former.series_uid)]
            yield name, _selection(decided, name, codes.REJECTED, listed, text, ())


def _accepted(decided: Decided, role: str, states: States) -> tuple[dict[str, Any], bool]:
    """Amendment by key of what stands in a report, and whether the job's masks and maps stand with it."""
    stands = {k: s.amendment for k, s in states.items() if s.state in _STANDS}
    mine = {key: stands[key] for key in decided.keys_in(role) if key in stands}
    redrawn = any((amendment or {}).get("points") is not None for amendment in stands.values())
    whole = len(stands) == len(decided.result.findings) and not redrawn and refers_to_results(decided.reports[role])
    return mine, bool(mine) and whole


def _verified(
    decided: Decided, role: str, name: str, accepted: Mapping[str, Any], whole: bool, former: ReviewObject | None
) -> Dataset:
    job, report = decided.job, decided.reports[role]
    kept = []
    for key, amendment in accepted.items():
        values = decided.finding(key)
        image = decided.images.get(values["region"]["source"]) if values.get("region") else None
        kept.append(Accepted(job.tracking_uid(key), values, amendment, image))
    predecessor = (
        Predecessor(job.study_uid, former.series_uid, former.sop_class, former.uid, preliminary=False)
        if former is not None
        else Predecessor(
            job.study_uid, report.SeriesInstanceUID, report.SOPClassUID, report.SOPInstanceUID, preliminary=True
        )
    )
    return verified(
        report,
        kept,
        job=job,
        role=f"{decided.name}|{name}",
        predecessor=predecessor,
        reader=decided.reader,
        now=decided.now,
        revision=decided.revision,
        whole=whole,
    )


# -- key object selections ---------------------------------------------------------------------------------------------


def _selections(decided: Decided) -> Iterator[tuple[str, Dataset]]:
    before, after = _rejected(decided.standing.reviewed), _rejected(decided.after)
    new = {key: each for key, each in after.items() if key not in before}
    withdrawn = [d.finding for d in decided.decisions if d.verb is Verb.WITHDRAW and d.finding in before]
    number = len(decided.result.findings)
    was_all, is_all = len(before) == number, len(after) == number
    if withdrawn:
        text = _said("Rejection withdrawn", [_line(decided, key) for key in withdrawn])
        listed = _everything(decided) if was_all else _reports(decided, withdrawn)
        yield "withdrawal", _selection(decided, "withdrawal", codes.REJECTION_WITHDRAWN, listed, text, ())
    if is_all and new:
        text = _said("Every finding is rejected", [_line(decided, key, each) for key, each in after.items()])
        reasons = [REASONS[r] for r in REASONS if r in {each.reason for each in after.values()}]
        yield "rejection", _selection(decided, "rejection", codes.REJECTED, _everything(decided), text, reasons)
        return
    # What stood rejected as part of the whole is said again for itself.
    told = after if was_all and withdrawn else new
    for value, reason in REASONS.items():
        mine = {key: each for key, each in told.items() if each.reason == value}
        if mine:
            text = _said("Finding rejected", [_line(decided, key, each) for key, each in mine.items()])
            name = f"rejection {value}"
            yield name, _selection(decided, name, codes.REJECTED, _reports(decided, list(mine)), text, [reason])


def _rejected(states: States) -> dict[str, Reviewed]:
    return {key: each for key, each in states.items() if each.state is ReviewState.REJECTED}


def _line(decided: Decided, key: str, rejected: Reviewed | None = None) -> str:
    parts = [str(decided.finding(key)["label"]), f"Tracking UID {decided.job.tracking_uid(key)}"]
    if rejected is not None:
        reason = REASONS[rejected.reason or ""]
        parts.append(f"{reason.meaning} ({reason.value}, {reason.scheme})")
        parts += [rejected.comment] if rejected.comment else []
    return "; ".join(parts)


def _said(heading: str, lines: Sequence[str]) -> str:
    return "\r\n".join([f"{heading}:", *lines])


def _everything(decided: Decided) -> list[Listed]:
    return [_listed(each) for each in decided.result.evidence]


def _reports(decided: Decided, keys: Sequence[str]) -> list[Listed]:
    """The reports that hold these findings."""
    roles = [role for role in decided.reports if set(keys) & set(decided.keys_in(role))]
    return [_listed(each) for each in decided.result.evidence if each.role in roles]


def _listed(evidence: StoredEvidence) -> Listed:
    return Listed(evidence.sop_class, evidence.uid, evidence.series_uid)


def _selection(
    decided: Decided, name: str, title: Code, listed: Sequence[Listed], text: str, reasons: Sequence[Code]
) -> Dataset:
    return selection(
        title,
        listed,
        text,
        reasons,
        report=next(iter(decided.reports.values())),
        job=decided.job,
        role=f"{decided.name}|{name}",
        reader=decided.reader,
        now=decided.now,
        revision=decided.revision,
    )
