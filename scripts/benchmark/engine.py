"""A whole slide inside Orthanc, beside the limit: the same model fed from memory by as many threads.

The limit is what the machine can do: the router's own session in a process without anything else, given batches that
are normalised already, one thread for each worker. Inside Orthanc time runs from opening the stored slide to the
prediction for the last tissue patch; writing the result as DICOM is told beside it. The two take turns, and the order
changes from round to round. What both answer for each patch is compared, so that nobody measures nonsense.
"""

import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from airouter.domain.finding import Ungradable
from airouter.domain.job import Job
from airouter.domain.model import Model
from airouter.domain.study import Modality
from airouter.imaging.patches import PatchPlan
from airouter.imaging.slide import Slide
from airouter.inference import preprocess
from airouter.inference.repository import ModelRepository
from airouter.inference.session import Session
from airouter.pipelines import PIPELINES
from benchmark import crew, models, slides
from benchmark.archive import PIPELINE, Analysis, Archive
from benchmark.figure import Figure, Options
from benchmark.process import Child
from tests.orthanc_process import ORTHANC

GROUP: Final = "engine"

_SIDE, _QUICK_SIDE = 16384, 4096
_HELD: Final = 512  # patches the limit holds in memory and goes round on
_TARGETS: Final[Mapping[models.Kind, float]] = {"resnet18": 0.95, "mobilenet_v2": 0.92}
_SAME: Final = 1e-3  # most two probabilities of one patch may differ: other batches sum in another order


def measure(options: Options) -> list[Figure]:
    """Patches per second inside Orthanc and at the limit for each model, and the ratio of the two.

    Where Orthanc is not installed the pipeline reads the slide's files in a plain Python, and no target is set.
    """
    figures: list[Figure] = []
    with Bench(options, tuple(_TARGETS)) as bench:
        for kind, target in _TARGETS.items():
            figures += _figures(kind, target if bench.archive else None, bench.compare(kind, options.repeats))
    return figures


@dataclass(frozen=True, slots=True)
class Round:
    """Patches per second at the limit, and a whole slide."""

    limit: float
    inside: Analysis


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rounds with one model; `difference`: the largest between the probabilities that both gave one patch."""

    rounds: Sequence[Round]
    difference: float


class Bench:
    """One slide, an Orthanc that holds enough copies of it (None where there is no Orthanc), and its files."""

    def __init__(self, options: Options, kinds: Sequence[models.Kind]) -> None:
        self._options = options
        self._folder = options.work / GROUP
        self._models = self._folder / "models"
        for kind in kinds:
            models.folder(kind, self._models, workers=options.threads)
        slide = slides.slide(slides.Spec(_QUICK_SIDE if options.quick else _SIDE), slides.CACHE)
        self._files = slide.write(self._folder / "limit")
        self.archive = Archive(options, self._folder, self._models) if ORTHANC.exists() else None
        if self.archive is None:
            return
        try:
            # Every job needs a study of its own: the same work on the same images is not done twice.
            self._studies = [self.archive.store(slide, number) for number in range(options.repeats + 1)]
            self.archive.restart()
        except BaseException:
            self.archive.process.kill()
            raise

    def compare(self, kind: models.Kind, rounds: int) -> Comparison:
        """Take turns. RuntimeError where the two do not agree on what is to be seen."""
        name = models.name_of(kind)
        with Child() as limited, Child() as plain:
            given = self._models, name, self._files, self._options.provider
            expected = limited.call(prepare, *given).value
            if self.archive is None:
                plain.call(prepare, *given)

            def inside(number: int) -> tuple[Analysis, NDArray[np.float32] | None]:
                if self.archive is None:
                    patches, seconds, probabilities = plain.call(alone, self._files).value
                    return Analysis(patches, seconds, seconds, {}, {}), probabilities
                done = self.archive.analyse(self._studies[number], name)
                return done, None if number else self.archive.probabilities(done)

            _, probabilities = inside(0)
            assert probabilities is not None
            apart = difference(expected, probabilities)
            if not apart <= _SAME:
                raise RuntimeError(f"{kind}: probabilities differ by up to {apart:g} from those of the limit")
            count, done = len(expected), []
            limited.call(limit, count, self._options.threads)
            for number in range(1, rounds + 1):
                if number % 2:
                    rate = limited.call(limit, count, self._options.threads).value
                    analysis, _ = inside(number)
                else:
                    analysis, _ = inside(number)
                    rate = limited.call(limit, count, self._options.threads).value
                if analysis.patches != count:
                    raise RuntimeError(f"{kind}: {analysis.patches} patches were analysed, {count} are there")
                done.append(Round(rate, analysis))
        return Comparison(done, apart)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.archive is not None:
            self.archive.__exit__(kind, error, trace)
        shutil.rmtree(self._folder, ignore_errors=True)


def difference(expected: Mapping[tuple[int, int], float], found: NDArray[np.float32]) -> float:
    """Largest difference of a patch; infinite where not the same patches were analysed."""
    cells = {(int(r), int(c)) for r, c in zip(*np.nonzero(found >= 0.0), strict=True)}
    if cells != set(expected):
        return float("inf")
    return max(abs(float(found[cell]) - value) for cell, value in expected.items())


def _figures(kind: models.Kind, target: float | None, compared: Comparison) -> list[Figure]:
    title, rounds = models.TITLES[kind], compared.rounds
    ratios = tuple(r.inside.rate / r.limit for r in rounds)
    inside = tuple(r.inside.rate for r in rounds)
    limits = tuple(r.limit for r in rounds)
    totals = tuple(r.inside.total_seconds for r in rounds)
    patches = rounds[0].inside.patches
    where = "inside Orthanc" if target is not None else "in a plain Python, there being no Orthanc"
    phased = "" if rounds[0].inside.phases or target is None else "whole jobs: the router does not tell their phases"
    figures = [
        Figure(
            GROUP,
            f"{title}: whole slide {where}, relative to the session fed from memory",
            statistics.median(ratios),
            "1",
            None if target is None else "least",
            target,
            ratios,
            phased,
            {"patches": patches, "largest_difference_of_probability": compared.difference},
        ),
        Figure(GROUP, f"{title}: {where}", statistics.median(inside), "{patches}/s", samples=inside),
        Figure(GROUP, f"{title}: session fed from memory", statistics.median(limits), "{patches}/s", samples=limits),
    ]
    if target is not None:
        figures.append(
            Figure(
                GROUP,
                f"{title}: from the stored slide to the stored result",
                statistics.median(totals),
                "s",
                samples=totals,
                detail=f"{patches} patches",
                extra={"phases": [dict(r.inside.phases) for r in rounds]},
            )
        )
    return figures


# --- the limit, in its own process ---

_prepared: list[tuple[Session, NDArray[np.float32]]] = []  # the last one prepared, if any


def prepare(folder: Path, name: str, files: Sequence[Path], provider: str) -> dict[tuple[int, int], float]:
    """Load the model, keep patches of the slide as tensors; the first class's probability of every patch, by cell."""
    session = ModelRepository(folder, configured=(provider,)).get(name)
    assert isinstance(session, Session)
    model = session.model
    with slides.opened(files) as slide:
        plan = _plan(slide, model)
        held = np.empty(preprocess.tensor_shape(model.input, min(len(plan), _HELD), *model.input.size), np.float32)
        answers = []
        for start in range(0, len(plan), model.input.batch):
            pictures = [plan.read(i).pixels for i in range(start, min(start + model.input.batch, len(plan)))]
            preprocess.fill(held[start : start + len(pictures)], pictures, model.input)
            answers.append(session.predict(pictures)[:, 0])
    _prepared[:] = [(session, held)]
    return dict(zip(plan.cells, np.concatenate(answers).tolist(), strict=True))


def alone(files: Sequence[Path]) -> tuple[int, float, NDArray[np.float32]]:
    """The pipeline with the prepared session on a slide's files: patches, seconds, probabilities of the first class."""
    ((session, _),) = _prepared
    model, done = session.model, [0]

    def progress(number: int, total: int, unit: str) -> None:
        done[0] = number

    job = Job(
        key="0" * 64, study_id="", study_uid="1.2", series_uid="1.2.3", modality=Modality.SM, sources=(),
        pipeline=PIPELINE, pipeline_version="", model=model.name, model_version=model.version,
        model_sha256=model.sha256, parameters=model.parameters,
    )  # fmt: skip
    begin = time.perf_counter()
    with slides.opened(files) as slide:
        outcome = PIPELINES[PIPELINE].run(job, slide, session, progress)
    seconds = time.perf_counter() - begin
    if isinstance(outcome, Ungradable):
        raise ValueError(outcome.reason)  # noqa: TRY004 - an outcome, not a wrong type
    return done[0], seconds, outcome.maps[0].values


def _plan(slide: Slide, model: Model) -> PatchPlan:
    spacing_um = model.input.spacing_um or slide.base.spacing_um
    plan = slide.patches(spacing_um, model.input.size, model.input.overlap, slide.tissue())
    if isinstance(plan, Ungradable):
        raise ValueError(plan.reason)  # noqa: TRY004 - an outcome, not a wrong type
    return plan


def limit(count: int, threads: int) -> float:
    """Patches per second of the prepared session, `count` patches in batches, each thread taking the next one."""
    ((session, held),) = _prepared
    batch = session.model.input.batch
    batches = [min(batch, count - start) for start in range(0, count, batch)]
    whole = max(1, len(held) // batch)

    def work(number: int) -> None:
        start = number % whole * batch
        session.run(held[start : start + batches[number]])

    return count / crew.seconds(work, len(batches), threads)
