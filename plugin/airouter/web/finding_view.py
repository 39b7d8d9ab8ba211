"""A finding as the reading room sees it: the machine's values, where they lie, and what readers made of them."""

from collections.abc import Mapping
from typing import Any, Final

from airouter.domain import codes
from airouter.domain.amendment import choices
from airouter.domain.job import Job
from airouter.domain.review import Reviewed, ReviewState
from airouter.ports import ResultRecord

# Which measurement says how sure the model is, the first that a finding has.
_CONFIDENCE: Final = (codes.CERTAINTY_OF_FINDING.value, codes.PROBABILITY.value, codes.PROBABILITY_OF_CANCER.value)
_REASONS: Final = {
    code.value: {"value": code.value, "scheme": code.scheme, "meaning": code.meaning} for code in codes.REJECTIONS
}
REASONS: Final = list(_REASONS.values())


def finding_view(finding: Mapping[str, Any], job: Job | None, reviewed: Reviewed | None) -> dict[str, Any]:
    """The finding as the journal keeps it, with its Tracking UID, confidence, place and review."""
    key = finding.get("key")
    return {
        **finding,
        "tracking_uid": job.tracking_uid(str(key)) if job is not None and key is not None else None,
        "confidence": _confidence(finding),
        "region": _region(finding.get("region"), job),
        "review": {**review_view(reviewed), "choices": choices(finding)},
    }


def review_view(reviewed: Reviewed | None) -> dict[str, Any]:
    """How a finding stands: pending at version 0 where nobody decided."""
    if reviewed is None:
        nothing = dict.fromkeys(("by", "at", "reason", "comment", "amendment"))
        return {"state": ReviewState.PENDING.value, "version": 0, **nothing}
    return {
        "state": reviewed.state.value,
        "version": reviewed.version,
        "by": reviewed.by,
        "at": reviewed.at,
        "reason": _REASONS.get(reviewed.reason or ""),
        "comment": reviewed.comment,
        "amendment": dict(reviewed.amendment) if reviewed.amendment is not None else None,
    }


def reports_of(result: ResultRecord) -> list[dict[str, str]]:
    """The reports that hold the findings, the one with regions first."""
    return [
        {"role": e.role, "series_instance_uid": e.series_uid, "sop_instance_uid": e.uid}
        for role in ("report", "scores")
        for e in result.evidence
        if e.role == role
    ]


def _confidence(finding: Mapping[str, Any]) -> float | None:
    """In percent."""
    measured = {
        m["name"]["value"]: (float(m["value"]), m["unit"]) for m in finding.get("measurements", ()) if m.get("name")
    }
    for concept in _CONFIDENCE:
        if concept in measured:
            value, unit = measured[concept]
            return value if unit == codes.PERCENT.value else 100.0 * value
    return None


def _region(region: Mapping[str, Any] | None, job: Job | None) -> dict[str, Any] | None:
    """Results of earlier versions say neither series nor points."""
    if region is None:
        return None
    series = region.get("series")
    if (
        series is None
        and job is not None
        and any(s.uid == region["source"] and not s.prior_study_id for s in job.sources)
    ):
        series = job.series_uid
    return {**region, "series": series, "box": region.get("box"), "points": region.get("points")}
