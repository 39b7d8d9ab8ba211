"""How much a running analysis slows down what Orthanc is there for: taking in images.

Orthancs with the same configuration stand side by side: one without the Python plugin, one with the router that has
nothing to do, one whose router is analysing a slide. In turn each is sent the same instances over one association; the
others are stopped (SIGSTOP) meanwhile, so that each has the machine to itself, sender included, as a modality's would
not be. Rounds are interleaved, and their order alternates. A transfer counts for "analysing" only if the slide's job
made progress during it and still runs afterwards.
"""

import contextlib
import copy
import io
import os
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pydicom
from prometheus_client.parser import text_string_to_metric_families
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from benchmark.figure import Figure, Options
from phantoms.dicom import fundus_instance, slide_instances
from phantoms.fundus import fundus
from phantoms.modality import send
from phantoms.slide import slide
from tests.router_process import RouterProcess

INSTANCES: Final = 200
GROUP: Final = "C-STORE while a slide is analysed"
_DICOMWEB: Final = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
# DCMTK leaves Nagle's algorithm on: on the loopback device each instance would wait 40 ms for an acknowledgement, and
# that idle time would hide what is measured. Set for all arms and for the sender.
_AT_ONCE: Final = {"TCP_NODELAY": "1"}
# The sender stands for another machine: where we may (as root), it does not wait for a core that a contender uses.
_SENDER_PRIORITY: Final = 1
_METRIC: Final = "airouter_on_stored_seconds"
_TRIES: Final = 8  # transfers until one falls wholly into an analysis
_USED_UP: Final = 0.6  # share of a slide behind which the next transfer waits for another slide


class _Orthanc(RouterProcess):
    environment: Mapping[str, str] = {**RouterProcess.environment, **_AT_ONCE}


class Sender(Protocol):
    """Sends the files of a folder in one association; seconds from each request to its response."""

    def __call__(self, folder: Path, port: int, called: str) -> list[float]: ...


@dataclass(slots=True)
class Arm:
    """One Orthanc of the comparison and what was measured on it."""

    name: str
    process: RouterProcess
    seconds: list[float] = field(default_factory=list)
    each: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def pause(self) -> None:
        """Stop the process where it stands."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.process.pid, signal.SIGCONT)


def measure(options: Options) -> list[Figure]:
    """Time to send 200 CT slices, and 200 photographs that become jobs; the wait of the callback OnStored.

    Needs Orthanc with its Python and DICOMweb plugins, as the tests do, and takes DCMTK's storescu where it is there.
    """
    count = 20 if options.quick else INSTANCES
    sender = storescu if shutil.which("storescu") else pynetdicom
    with contextlib.ExitStack() as stack:

        def started(name: str, **config: Any) -> Arm:
            folder = options.work / name.replace(" ", "-")
            process = stack.enter_context(_Orthanc(folder, **config))
            return Arm(name, process)

        without = started("without the plugin", Plugins=[_DICOMWEB])
        idle = started("idle")
        busy = started("analysing")
        arms = [without, idle, busy]
        stack.callback(lambda: [arm.resume() for arm in arms if arm.process.running])
        for arm in (idle, busy):
            arm.process.wait_state()
        analysis = Analysis(busy.process, 2048 if options.quick else 8192)
        figures = []
        for kind, make in (("CT slices", ct_study), ("photographs", photographs)):
            for arm in arms:
                arm.seconds, arm.each, arm.cpu = [], [], []
            rounds(arms, analysis, options.work / "outbox", partial(make, count), sender, options.repeats)
            figures += _figures(kind, count, arms, sender)
        busy.resume()
        figures.append(_callback(busy.process))
        for arm in arms:
            arm.resume()
            arm.process.kill()  # the photographs that wait in the queue are not what is measured
    return figures


def rounds(
    arms: Sequence[Arm],
    analysis: "Analysis",
    outbox: Path,
    make: Callable[[], list[Dataset]],
    sender: Sender,
    repeats: int,
) -> None:
    """Send to each arm in turn, `repeats` times after one round that is not counted; all but one are stopped."""
    for arm in arms:
        arm.pause()
    for number in range(-1, repeats):
        for arm in arms if number % 2 else reversed(arms):
            shutil.rmtree(outbox, ignore_errors=True)
            _write(outbox, make())
            os.sync()  # what was written for the sender must not be waited for by the receiver
            arm.resume()
            try:
                for _ in range(_TRIES):
                    before = analysis.running() if arm.process is analysis.process else 0
                    used, began = _cpu(arm.process.pid), time.monotonic()
                    each = sender(outbox, arm.process.dicom_port, arm.process.aet)
                    seconds, used = time.monotonic() - began, _cpu(arm.process.pid) - used
                    if arm.process is not analysis.process or analysis.went_on(before):
                        break
                    _forget(arm.process, outbox)
                else:
                    raise RuntimeError("no transfer fell wholly into the analysis of a slide")
                if number >= 0:
                    arm.seconds.append(seconds)
                    arm.each += each
                    arm.cpu.append(used)
                _forget(arm.process, outbox)
            finally:
                arm.pause()


class Analysis:
    """A slide under analysis at any time it is asked for."""

    def __init__(self, process: RouterProcess, side: int) -> None:
        self.process = process
        block = slide(1024, 1024, 0.5, stain="H-DAB", positive_fraction=0.3, seed=1).rgb
        self._template = slide_instances(np.tile(block, (side // 1024, side // 1024, 1)), 0.5, stain="H-DAB")
        self._study = ""

    def running(self) -> int:
        """Patches done of a job that has most of its slide before it; a new slide is stored where there is none."""
        job = self._job()
        if job is None or job["state"] != "IN PROGRESS" or _share(job) > _USED_UP:
            self._study = generate_uid()
            series = generate_uid()
            for level in self._template:
                ds = copy.copy(level)
                ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = self._study, series, generate_uid()
                ds.file_meta = copy.copy(level.file_meta)
                ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
                self.process.upload(_part10(ds))
        job = self.process.until(self._begun, "the analysis of a slide", seconds=1200)
        return int(job["progress"]["done"])

    def went_on(self, before: int) -> bool:
        """Whether the same job has made progress since and is not at its end yet."""
        job = self._job()
        return job is not None and job["state"] == "IN PROGRESS" and before < job["progress"]["done"] < _total(job)

    def _job(self) -> dict[str, Any] | None:
        return next(iter(self.process.jobs(self._study)), None) if self._study else None

    def _begun(self) -> dict[str, Any] | None:
        job = self._job()
        return job if job and job["state"] == "IN PROGRESS" and _share(job) > 0 else None


def _total(job: dict[str, Any]) -> int:
    return int(job["progress"]["total"])


def _share(job: dict[str, Any]) -> float:
    progress = job.get("progress")
    return float(progress["done"]) / float(progress["total"]) if progress and progress["total"] else 0.0


# -- what is sent ------------------------------------------------------------------------------------------------------


def ct_study(count: int) -> list[Dataset]:
    """Slices of 512 x 512 pixels of 16 bits in two series of one study; no route selects CT."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:512j, -1:1:512j]
    body = np.where(x**2 / 0.7 + y**2 < 0.8, 1050, 24)
    study, series, frame = generate_uid(), (generate_uid(), generate_uid()), generate_uid()
    made = []
    for n in range(count):
        ds = _identified(study, series[2 * n // count], n)
        ds.SOPClassUID, ds.Modality, ds.FrameOfReferenceUID = CTImageStorage, "CT", frame
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.ImagePositionPatient, ds.ImageOrientationPatient = [-250, -250, float(n)], [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness = [0.98, 0.98], 1.0
        ds.RescaleSlope, ds.RescaleIntercept, ds.KVP = 1, -1024, 120
        ds.Rows = ds.Columns = 512
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.PixelData = np.clip(body + rng.normal(0, 20, body.shape), 0, 4095).astype("<u2").tobytes()
        made.append(_filed(ds, ExplicitVRLittleEndian))
    return made


def photographs(count: int) -> list[Dataset]:
    """Fundus photographs of one study, each of which becomes a job."""
    template = fundus_instance(fundus(1024, "R", seed=5).rgb, laterality="R")
    study, series = generate_uid(), generate_uid()
    made = []
    for n in range(count):
        ds = copy.copy(template)
        ds.update(_identified(study, series, n))
        made.append(_filed(ds, template.file_meta.TransferSyntaxUID))
    return made


def _identified(study: str, series: str, number: int) -> Dataset:
    ds = Dataset()
    ds.PatientID, ds.PatientName = "PHANTOM-BENCH", "Phantom^Bench"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = study, series, generate_uid()
    ds.InstanceNumber = number + 1
    return ds


def _filed(ds: Dataset, syntax: str) -> Dataset:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    return ds


def _part10(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def _write(folder: Path, datasets: Sequence[Dataset]) -> None:
    folder.mkdir(parents=True)
    for n, ds in enumerate(datasets):
        (folder / f"{n:04d}.dcm").write_bytes(_part10(ds))


def _forget(process: RouterProcess, outbox: Path) -> None:
    """Delete what was sent: no arm's storage grows beyond the others'."""
    one = pydicom.dcmread(next(outbox.iterdir()), stop_before_pixels=True)
    for found in process.rest.post("/tools/lookup", content=one.StudyInstanceUID).json():
        process.rest.delete(f"/studies/{found['ID']}").raise_for_status()


# -- who sends ---------------------------------------------------------------------------------------------------------


def storescu(folder: Path, port: int, called: str) -> list[float]:
    """DCMTK's sender, which costs little beside the receiver. Raises ConnectionError where an instance is refused."""
    command = ["storescu", "-v", "-R", "-xy", "-aec", called, "+sd", "127.0.0.1", str(port), str(folder)]
    env = {**os.environ, **_AT_ONCE}
    seconds: list[float] = []
    said: list[str] = []
    began = 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env) as sender:
        assert sender.stderr is not None
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(sender.pid, os.SCHED_RR, os.sched_param(_SENDER_PRIORITY))
        for line in sender.stderr:
            said.append(line)
            if "Sending Store Request" in line:
                began = time.monotonic()
            elif "Received Store Response (Success)" in line:
                seconds.append(time.monotonic() - began)
    if len(seconds) != len(list(folder.iterdir())):
        raise ConnectionError("not every instance was taken:\n" + "".join(said[-10:]))
    return seconds


def pynetdicom(folder: Path, port: int, called: str) -> list[float]:
    """Where there is no DCMTK: its own work in Python is a large part of what is measured then."""
    datasets = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    times = [time.monotonic()]
    statuses = send(datasets, port, called=called, sent=lambda _: times.append(time.monotonic()))
    if any(statuses):
        raise ConnectionError("an instance was refused")
    return [after - before for before, after in pairwise(times)]


# -- what comes out ----------------------------------------------------------------------------------------------------


def _figures(kind: str, count: int, arms: Sequence[Arm], sender: Sender) -> Iterator[Figure]:
    without = statistics.median(arms[0].seconds)
    name = getattr(sender, "__name__", "sender")
    for arm in arms:
        taken = statistics.median(arm.seconds)
        extra = {
            "p50_ms": 1e3 * float(np.percentile(arm.each, 50)),
            "p99_ms": 1e3 * float(np.percentile(arm.each, 99)),
            "cpu_s": statistics.median(arm.cpu),
        }
        detail = f"{count} instances by {name}; {_words(extra)}"
        yield Figure(GROUP, f"{kind}, {arm.name}", taken, "s", samples=tuple(arm.seconds), detail=detail, extra=extra)
    for arm in arms[1:]:
        ratio = statistics.median(arm.seconds) / without
        target = 1.10 if arm is arms[-1] else None
        bound = "most" if target else None
        yield Figure(GROUP, f"{kind}, {arm.name} / without the plugin", ratio, "1", bound, target)  # type: ignore[arg-type]


def _words(extra: dict[str, float]) -> str:
    return f"each {extra['p50_ms']:.1f} ms, p99 {extra['p99_ms']:.1f} ms; Orthanc used {extra['cpu_s']:.2f} s of CPU"


def _callback(process: RouterProcess) -> Figure:
    """99th percentile of the callback OnStored, from the router's own histogram: the upper bound of its bucket."""
    buckets: list[tuple[float, float]] = []
    for family in text_string_to_metric_families(process.rest.get("/ai/metrics").text):
        buckets += [(float(s.labels["le"]), s.value) for s in family.samples if s.name == f"{_METRIC}_bucket"]
    total = buckets[-1][1] if buckets else 0
    value = next((1e3 * le for le, below in buckets if below >= 0.99 * total), None) if total else None
    detail = f"{total:.0f} callbacks; from entry to return: what it waits for the interpreter before is not in it"
    return Figure(GROUP, "OnStored callback, p99", value, "ms", "most", 10.0, detail=detail)


def _cpu(pid: int) -> float:
    """Seconds of CPU a process used, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
