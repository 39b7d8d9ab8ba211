"""A real Orthanc with the router, to be measured: slides are stored, jobs asked for, phases read."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import pydicom
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families
from pydicom.filebase import DicomBytesIO

from benchmark import slides
from benchmark.figure import Options
from tests.router_process import RouterProcess

PIPELINE: Final = "slide-classification"

_PHASES: Final = "airouter_job_phase_seconds"
_PREDICTING: Final = ("open", "analyse")  # the phases up to the last prediction
_POLL_SECONDS: Final = 0.5  # a question to the router costs it time too
_JOB_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Analysis:
    """One job: predictions made, seconds up to the last of them, and seconds with the result stored as DICOM.

    `phases`: seconds by phase; empty where the router does not tell, then `seconds` is that of the whole job.
    """

    patches: int
    seconds: float
    total_seconds: float
    phases: Mapping[str, float]
    job: Mapping[str, Any]

    @property
    def rate(self) -> float:
        """Patches per second."""
        return self.patches / self.seconds


class Archive:
    """An Orthanc in a folder of its own, with the router; slides are stored first, then it is started again.

    `models`: the folder of model folders; `router`: further settings of the section AIRouter. There are no routes:
    nothing runs but what is asked for.
    """

    def __init__(
        self, options: Options, folder: Path, models: Path, router: Mapping[str, Any] | None = None, **config: Any
    ) -> None:
        self._files = folder / "files"
        section = {"ModelsDirectory": str(models), "ExecutionProviders": [options.provider], "Routes": []}
        self.process = RouterProcess(folder / "orthanc", section | dict(router or {}), **config)
        try:
            self.process.wait_state()
        except BaseException:
            self.process.kill()
            raise

    def store(self, slide: slides.Slide, number: int = 0) -> str:
        """Store a copy of a slide; its Study Instance UID."""
        for path in slide.write(self._files, number):
            with path.open("rb") as content:
                answer = self.process.rest.post("/instances", content=content, timeout=600)
            answer.raise_for_status()
            path.unlink()
        return slide.study_uid(number)

    def restart(self) -> None:
        """Stop it, start it on what it holds, and wait until the router has looked through that."""
        self.process.stop(60)
        self.process.start()
        self.process.wait_state()

        def settled() -> bool:
            health = self.process.ai("health")
            return health["intake_lag_seconds"] in (None, 0.0) and not health["queue_depth"]

        self.process.until(settled, "an intake without arrears")

    def analyse(self, study_uid: str, model: str, pipeline: str = PIPELINE) -> Analysis:
        """Run one job and wait for its end. RuntimeError where it was run before, or does not complete."""
        before = self._phases(pipeline)
        wish = {"study": study_uid, "pipeline": pipeline, "model": model}
        asked = self.process.rest.post("/ai/jobs", json=wish, timeout=120)
        if asked.status_code != 202 or len(asked.json()["jobs"]) != 1:
            raise RuntimeError(f"no job came of {wish}: {asked.text}")
        key = asked.json()["jobs"][0]
        deadline = time.monotonic() + _JOB_SECONDS
        while (job := self.process.ai(f"jobs/{key}"))["state"] not in ("COMPLETED", "CANCELED"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"a job has not ended after {_JOB_SECONDS:g} s")
            time.sleep(_POLL_SECONDS)
        if job["state"] != "COMPLETED" or not job["progress"] or job["reason"]:
            raise RuntimeError(f"a job ended {job['state']}: {job['reason']}")
        after = self._phases(pipeline)
        phases = {name: seconds - before.get(name, 0.0) for name, seconds in after.items()}
        patches = int(job["progress"]["done"])
        if not phases:
            seconds = (datetime.fromisoformat(job["ended"]) - datetime.fromisoformat(job["started"])).total_seconds()
            return Analysis(patches, seconds, seconds, {}, job)
        seconds = sum(phases.get(name, 0.0) for name in _PREDICTING)
        if seconds <= 0.0:
            raise RuntimeError("the job was known already and did not run again")
        return Analysis(patches, seconds, sum(phases.values()), phases, job)

    def _phases(self, pipeline: str) -> dict[str, float]:
        """Seconds spent so far in each phase of a pipeline's jobs."""
        return {
            sample.labels["phase"]: sample.value
            for family in text_string_to_metric_families(self.process.rest.get("/ai/metrics").text)
            for sample in family.samples
            if sample.name == f"{_PHASES}_sum" and sample.labels["pipeline"] == pipeline
        }

    def probabilities(self, analysis: Analysis) -> NDArray[np.float32]:
        """float32 [rows, columns]: the map of the first class's probability that the job stored, below 0 where none."""
        written = next(e for e in analysis.job["evidence"] if e["role"] == "probability-1")
        answer = self.process.rest.get(f"/instances/{written['instance']}/file")
        answer.raise_for_status()
        ds = pydicom.dcmread(DicomBytesIO(answer.content))
        rows, columns = int(ds.TotalPixelMatrixRows), int(ds.TotalPixelMatrixColumns)
        if rows > ds.Rows or columns > ds.Columns:
            raise RuntimeError(f"a map of {rows} x {columns} cells has several frames")
        return np.frombuffer(ds.FloatPixelData, np.float32).reshape(ds.Rows, ds.Columns)[:rows, :columns]

    def close(self) -> None:
        if self.process.running:
            self.process.stop(60)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.process.kill()
