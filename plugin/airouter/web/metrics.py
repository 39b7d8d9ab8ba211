"""Figures for Prometheus, in one registry per application. No label ever names a study or a patient."""

from collections.abc import Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from airouter import __version__
from airouter.domain.job import JobState
from airouter.ports import JobRecord
from airouter.web.services import WebServices

# From a single photograph to a whole slide on a slow machine.
_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1800, 3600)
# A callback that only sets a flag takes microseconds; from 10 ms on it would be felt by the sender.
_CALLBACK_SECONDS = (1e-5, 2.5e-5, 1e-4, 2.5e-4, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1)


class Metrics:
    """Counts what happens; the job runner tells it of every job that ends."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._seconds = Histogram(
            "airouter_job_seconds",
            "Wall time of ended jobs, from start to end",
            ["pipeline", "state"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._phases = Histogram(
            "airouter_job_phase_seconds",
            "Wall time of the phases of jobs: open, analyse, write, store",
            ["pipeline", "phase"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._units = Counter(
            "airouter_analysed", "Units (patches, B-scans, images) done by ended jobs", ["unit"], registry=registry
        )
        self._on_stored = Histogram(
            "airouter_on_stored_seconds",
            "Time the callback OnStoredInstance keeps a thread of Orthanc, from its entry to its return",
            buckets=_CALLBACK_SECONDS,
            registry=registry,
        )
        self._findings = Counter("airouter_findings", "Findings of completed jobs", ["pipeline"], registry=registry)

    def ended(self, record: JobRecord, findings: int = 0) -> None:
        """Count a job that was completed or canceled, with the number of its findings."""
        pipeline = record.job.pipeline
        if record.started and record.ended:
            elapsed = datetime.fromisoformat(record.ended) - datetime.fromisoformat(record.started)
            self._seconds.labels(pipeline, record.state.value).observe(max(0.0, elapsed.total_seconds()))
        if record.progress:
            self._units.labels(record.progress.unit).inc(record.progress.done)
        self._findings.labels(pipeline).inc(findings)

    def took(self, pipeline: str, phase: str, seconds: float) -> None:
        """Count a phase of a job that ended well."""
        self._phases.labels(pipeline, phase).observe(seconds)

    def stored(self, seconds: float) -> None:
        """Count one call of OnStoredInstance. The wait for Python's interpreter lock before it is not known here."""
        self._on_stored.observe(seconds)

    def observe(self, services: WebServices) -> None:
        """Let a scrape also tell how jobs, models and intake stand at that moment."""
        self.registry.register(_Now(services))

    def text(self) -> bytes:
        """Prometheus text exposition."""
        return generate_latest(self.registry)


class _Now(Collector):
    """What is read at every scrape instead of being counted."""

    def __init__(self, services: WebServices) -> None:
        self._services = services

    def describe(self) -> list[Metric]:
        return []  # the services must not be asked before Orthanc has started

    def collect(self) -> Iterator[Metric]:
        health = self._services.health()
        build = InfoMetricFamily("airouter_build", "Versions of the router and of Orthanc")
        build.add_metric([], {"version": __version__, "orthanc": health.orthanc_version or "unknown"})
        yield build

        state = GaugeMetricFamily("airouter_state", "1 for the state the router is in", labels=["state"])
        state.add_metric([health.state.value], 1)
        yield state

        jobs = GaugeMetricFamily("airouter_jobs", "Jobs by state", labels=["state"])
        for job_state in JobState:
            jobs.add_metric([job_state.value], health.jobs.get(job_state, 0))
        yield jobs

        yield GaugeMetricFamily("airouter_queue_depth", "Jobs waiting to run", value=health.queue_depth)

        if health.intake_lag_seconds is not None:
            yield GaugeMetricFamily(
                "airouter_intake_lag_seconds",
                "Age of the oldest stored instance the intake has not handled",
                value=health.intake_lag_seconds,
            )

        usable = GaugeMetricFamily("airouter_model_usable", "1 if the model can be used", labels=["model", "version"])
        for model in self._services.models():
            usable.add_metric([model.name, model.version or ""], 1 if model.usable else 0)
        yield usable
