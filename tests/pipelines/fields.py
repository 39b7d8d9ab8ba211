"""Visual fields of known deviations, and their history, for the pipelines that read them."""

import datetime
from collections.abc import Callable, Sequence
from typing import Any

from pydicom.dataset import Dataset

from airouter.domain.study import Instance, Laterality, Modality
from airouter.imaging.visit import History, open_history
from airouter.pipelines import PIPELINES
from airouter.pipelines.pipeline import Rules
from phantoms.dicom import field_instance
from phantoms.perimetry import BLIND_SPOT, GRID

NORMAL_DB = 30.0
FIRST = datetime.datetime(2015, 3, 1, 12, 0, tzinfo=datetime.UTC)
KEPT = [at for n, at in enumerate(GRID) if n not in BLIND_SPOT]


def rules(pipeline: str) -> Rules:
    """What the router puts in the place of a model that a pipeline does not need."""
    about = PIPELINES[pipeline]
    return Rules(about.rules(Modality.OPV))


def probability(deviation: float) -> float:
    """A made-up table of limits: 5 % at -5 dB, 1 % at -8 dB, 0.5 % at -10 dB."""
    return 0.5 if deviation < -10 else 1.0 if deviation < -8 else 5.0 if deviation < -5 else 100.0


def field(deviation: Callable[[float, float], float] | float = -1.0, laterality: str = "R", **changes: Any) -> Dataset:
    """A 24-2 field of `deviation(x, y)` dB at the points of a right eye, mirrored for a left one.

    Its pattern deviation is 1 dB higher throughout; MD is the mean of the total deviations.
    """
    at = deviation if callable(deviation) else lambda x, y: deviation
    mirror = -1.0 if laterality == "L" else 1.0
    totals = [float(at(x, y)) for x, y in GRID]
    levels = [NORMAL_DB + total for total in totals]
    mean = sum(t for n, t in enumerate(totals) if n not in BLIND_SPOT) / len(KEPT)
    said = {
        "deviations": [(t, probability(t), t + 1.0, probability(t + 1.0)) for t in totals],
        "md": (mean, probability(mean)),
        "psd": (2.5, 5.0),
        "laterality": laterality,
    }
    points = [(mirror * x, y, level) for (x, y), level in zip(GRID, levels, strict=True)]
    return field_instance(points, **(said | changes))


def at_year(years: float) -> datetime.datetime:
    """So many years of 365.25 days after the first visit."""
    return FIRST + datetime.timedelta(days=365.25 * years)


def history(datasets: Sequence[Dataset]) -> History[Any]:
    """The last data set with all before it, as the router opens them."""

    def read(n: int, ds: Dataset) -> tuple[Instance, Dataset]:
        study = str(ds.StudyInstanceUID)
        return Instance(
            f"id-{n}", str(ds.SOPInstanceUID), str(ds.SOPClassUID), str(ds.SeriesInstanceUID), study, ""
        ), ds

    *priors, current = [read(n, ds) for n, ds in enumerate(datasets)]
    opened = open_history(Modality.OPV, current, priors, lambda *_: iter(()))
    assert isinstance(opened, History), opened
    assert opened.current.laterality in (Laterality.R, Laterality.L)
    return opened
