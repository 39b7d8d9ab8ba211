"""What a summary is made of: the results that other jobs of the same visit left."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airouter.domain.finding import Origin
from airouter.domain.job import Job
from airouter.domain.priority import Verdict


@dataclass(frozen=True, slots=True)
class Report:
    """An object that a job wrote: its role within the job, and its UIDs."""

    role: str
    sop_class: str
    uid: str
    series_uid: str


@dataclass(frozen=True, slots=True)
class SourceResult:
    """One job and what it left: findings as the journal keeps them (plain JSON values), reports, verdict."""

    job: Job
    findings: tuple[Mapping[str, Any], ...] = field(repr=False)
    reports: tuple[Report, ...]
    verdict: Verdict
    not_analysed: tuple[Mapping[str, str], ...] = ()

    def origin(self, finding: Mapping[str, Any]) -> Origin | None:
        """Where a finding of this job stands in DICOM, None where no report was written.

        One with a region is in the report of the regions, the others in that of the scores where there is one.
        """
        by_role = {r.role: r for r in self.reports}
        wanted = ("report", "scores") if finding.get("region") else ("scores", "report")
        report = next((by_role[role] for role in wanted if role in by_role), None)
        if report is None:
            return None
        return Origin(
            label=f"{self.job.pipeline}: {finding['label']}",
            sop_class=report.sop_class,
            uid=report.uid,
            series_uid=report.series_uid,
            study_uid=self.job.study_uid,
            tracking_uid=self.job.tracking_uid(finding["key"]),
        )


@dataclass(frozen=True, slots=True)
class Sources:
    """What `run` of a pipeline over results gets: the newest result of each pipeline on each image, oldest first."""

    results: tuple[SourceResult, ...]
