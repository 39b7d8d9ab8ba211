"""Other software on the same slide, with the same weights, on the same cores: TIAToolbox, MONAI and WSInfer.

Each is installed into an environment of its own (only when asked: each needs several GB) and runs in a process of its
own, once as shipped (torch) and once with a session of ONNX Runtime in the place of its network. All of them get the
positions of the very tiles that hold tissue, so that none pays for another idea of tissue, and their own default batch.
Timed is the prediction alone: neither imports nor the loading of the model, after a first run on a few tiles.
"""

import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from benchmark import models, slides
from benchmark.archive import Archive
from benchmark.figure import Figure, Options

GROUP: Final = "peers"

_HERE: Final = Path(__file__).parent
_SIDE, _QUICK_SIDE = 8192, 2048
_MOST_REPEATS: Final = 3  # a contender takes up to a minute for each
_SECONDS: Final = 1800
_TRIED: Final = 64  # patches by which the number of loading processes is chosen
_SAME: Final = 1e-3  # most two probabilities of one patch may differ


@dataclass(frozen=True, slots=True)
class Peer:
    """One contender: what to install, its script, its own default batch."""

    name: str
    title: str
    packages: tuple[str, ...]
    batch: int


PEERS: Final = (
    Peer("tiatoolbox", "TIAToolbox", ("tiatoolbox", "onnxruntime"), 8),
    Peer("monai", "MONAI", ("monai", "torchvision", "openslide-python", "openslide-bin", "onnxruntime"), 8),
    Peer("wsinfer", "WSInfer", ("wsinfer", "zarr<3", "openslide-python", "openslide-bin", "onnxruntime"), 32),
)
# Least ratio of the router's speed to a contender's, as shipped and with a session of ONNX Runtime in it.
TARGETS: Final[dict[models.Kind, dict[str, float | None]]] = {
    "mobilenet_v2": {"torch": 5.0, "onnx": 1.6},
    "resnet18": {"torch": 1.7, "onnx": None},
}
_AS: Final = {"torch": "as shipped", "onnx": "with a session of ONNX Runtime in it"}


def measure(options: Options) -> list[Figure]:
    """How much quicker a slide is inside Orthanc than in each contender, by contender, network and backend."""
    pythons: dict[str, Path] = {}
    figures: list[Figure] = []
    for peer in PEERS:
        try:
            pythons[peer.name] = environment(peer, slides.CACHE)
        except (subprocess.CalledProcessError, OSError) as error:
            figures.append(Figure(GROUP, peer.title, None, detail=f"it does not install here: {type(error).__name__}"))
    there = [peer for peer in PEERS if peer.name in pythons]
    if not there:
        return figures
    repeats = min(options.repeats, _MOST_REPEATS)
    folder = options.work / GROUP
    slide = slides.slide(slides.Spec(_QUICK_SIDE if options.quick else _SIDE), slides.CACHE)
    for kind in TARGETS:
        models.folder(kind, folder / "router" / "models", workers=options.threads)
    with Archive(options, folder / "router", folder / "router" / "models") as archive:
        studies = [archive.store(slide, number) for number in range(repeats + 1)]
        archive.restart()
        for kind, targets in TARGETS.items():
            archive.analyse(studies[0], models.name_of(kind))
            contest = Contest(options, kind, slide)
            entries = list(_entries(contest, there, pythons, figures))
            ours: list[float] = []
            theirs: list[list[float]] = [[] for _ in entries]
            for number in range(1, repeats + 1):
                ours.append(archive.analyse(studies[number], models.name_of(kind)).rate)
                for rates, entry in zip(theirs, entries, strict=True):
                    rates.append(entry.run()[0])
            for rates, entry in zip(theirs, entries, strict=True):
                figures.append(_figure(entry, targets[entry.backend], ours, rates))
    shutil.rmtree(folder, ignore_errors=True)
    return figures


@dataclass(frozen=True, slots=True)
class Entry:
    """One contender with one backend, and the number of loading processes that suits it best here."""

    contest: "Contest"
    peer: Peer
    python: Path
    backend: str
    workers: int

    def run(self) -> tuple[float, NDArray[np.float32]]:
        return self.contest.run(self.peer, self.python, self.backend, self.workers)


def _entries(contest: "Contest", peers: list[Peer], pythons: dict[str, Path], figures: list[Figure]) -> Iterator[Entry]:
    """Those that run and answer alike; of the others a line why they are not measured is added to `figures`."""
    expected: NDArray[np.float32] | None = None
    for peer in peers:
        for backend, how in _AS.items():
            python = pythons[peer.name]
            name = f"{peer.title}, {models.TITLES[contest.kind]}, {how}"
            try:
                tried = {
                    workers: contest.run(peer, python, backend, workers, _TRIED) for workers in (0, contest.threads)
                }
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                figures.append(Figure(GROUP, name, None, detail=f"it does not run here: {type(error).__name__}"))
                continue
            workers, (_, found) = max(tried.items(), key=lambda item: item[1][0])
            expected = found if expected is None else expected
            if found.shape != expected.shape or not np.abs(found - expected).max() <= _SAME:
                figures.append(Figure(GROUP, name, None, detail="it does not give the same probabilities"))
                continue
            yield Entry(contest, peer, python, backend, workers)


def _figure(entry: Entry, target: float | None, ours: list[float], theirs: list[float]) -> Figure:
    ratios = tuple(a / b for a, b in zip(ours, theirs, strict=True))
    return Figure(
        GROUP,
        f"{models.TITLES[entry.contest.kind]}: the router, relative to {entry.peer.title} {_AS[entry.backend]}",
        statistics.median(ratios),
        "1",
        None if target is None else "least",
        target,
        ratios,
        f"{statistics.median(ours):.0f} beside {statistics.median(theirs):.0f} patches/s, its best with "
        f"{entry.workers} loading processes",
    )


def environment(peer: Peer, cache: Path) -> Path:
    """The Python of a contender's environment, installed at the first use. Raises CalledProcessError."""
    folder = cache / "peers" / peer.name
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *peer.packages], check=True)
        (folder / "installed").touch()
    return python


class Contest:
    """One slide and one network, for any number of runs of any contender."""

    def __init__(self, options: Options, kind: models.Kind, slide: slides.Slide) -> None:
        self.kind = kind
        self.threads = options.threads
        self._work = options.work / GROUP / kind
        files = slide.write(self._work / "slide.dcm")  # TIAToolbox tells a folder of DICOM files by its name
        folder = models.folder(kind, self._work / "models")
        proto = onnx.load_model(folder / "model.onnx")
        # The bounds of ReLU6 stand among a graph's tensors; torch has them in its code.
        tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
        weights = {name: array for name, array in tensors.items() if not name.startswith("clip.")}
        np.savez(self._work / "weights.npz", **weights)  # type: ignore[arg-type]
        rows, columns = np.nonzero(slide.tissue)
        self.places = [[int(c) * slides.TILE, int(r) * slides.TILE] for r, c in zip(rows, columns, strict=True)]
        self._job: dict[str, Any] = {
            "slide": str(files[0]),
            "folder": str(files[0].parent),
            "places": self.places,
            "size": slides.TILE,
            "side": slide.spec.side,
            "spacing_um": slides.SPACING_UM,
            "kind": kind,
            "classes": 2,
            "weights": str(self._work / "weights.npz"),
            "onnx": str(folder / "model.onnx"),
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "threads": options.threads,
        }

    def run(
        self, peer: Peer, python: Path, backend: str, workers: int, most: int | None = None
    ) -> tuple[float, NDArray[np.float32]]:
        """Patches per second and the probabilities [patches, classes] of all patches, or of the first `most`.

        Raises CalledProcessError, TimeoutExpired.
        """
        answer = self._work / f"{peer.name}-{backend}.npz"
        job = {**self._job, "backend": backend, "workers": workers, "batch": peer.batch, "answer": str(answer)}
        job["places"] = self.places[:most]
        path = self._work / f"{peer.name}-{backend}.json"
        path.write_text(json.dumps(job))
        with (self._work / f"{peer.name}-{backend}.log").open("wb") as log:
            subprocess.run(
                [python, _HERE / f"with_{peer.name}.py", path],
                check=True,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=_SECONDS,
                env={
                    "PATH": "/usr/bin:/bin",
                    "HOME": str(self._work),
                    "WSINFER_FORCE_CPU": "1",
                    "CUDA_VISIBLE_DEVICES": "",
                },
            )
        with np.load(answer) as arrays:
            return len(arrays["probabilities"]) / float(arrays["seconds"]), arrays["probabilities"]
