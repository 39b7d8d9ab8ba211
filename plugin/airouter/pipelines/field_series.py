"""Which tests of one eye make a series: the reliable ones, and of them the latest that were made alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from airouter.domain.finding import NotAnalysed
from airouter.domain.study import Laterality
from airouter.imaging.field import VisualField
from airouter.imaging.perimetry import Index
from airouter.imaging.visit import History
from airouter.pipelines import garway_heath
from airouter.pipelines.field_checks import check
from airouter.pipelines.field_reliability import judge
from airouter.pipelines.pipeline import Values
from airouter.pipelines.trend import decimal_year, stretches


@dataclass(frozen=True, slots=True, eq=False)
class Test:
    """One test of the series: when, in decimal years, and its global indices as far as they hold."""

    field: VisualField
    taken: str
    year: float
    md: Index | None

    @property
    def vfi(self) -> Index | None:
        return self.field.vfi

    @property
    def day(self) -> str:
        return f"{self.taken[:4]}-{self.taken[4:6]}-{self.taken[6:8]}"


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """`tests`: those analysed, of equal settings, oldest first. `earlier`: reliable ones before a break; `unreliable`.

    `notes`: what a reader must know of the choice.
    """

    tests: tuple[Test, ...]
    earlier: tuple[Test, ...]
    unreliable: tuple[Test, ...]
    notes: tuple[str, ...]
    left_out: tuple[NotAnalysed, ...]


def series_of(images: History[VisualField], side: Laterality, values: Values) -> Series:
    """Sort the tests: unreliable ones out, then the latest stretch of equal settings."""
    left_out = [NotAnalysed(f"visual field {each.instance_uid}", each.reason) for each in images.refused]
    reliable: list[Test] = []
    unreliable: list[Test] = []
    for image, taken in (*((p.image, p.taken) for p in images.priors), (images.current, images.taken)):
        year = decimal_year(taken)
        if year is None:
            reason = f"not analysed because its date {taken!r} is none"
            left_out.append(NotAnalysed(f"visual field {image.instance_uid}", reason))
            continue
        checked = check(image, side, values)
        test = Test(image, taken, year, checked.md)
        judged = judge(image.reliability, values)
        if judged.unreliable:
            unreliable.append(test)
            why = f"not analysed because the test is unreliable: {'; '.join(judged.reasons)}"
            left_out.append(NotAnalysed(f"visual field of {test.day}", why))
        else:
            reliable.append(test)
            left_out += [NotAnalysed(f"{n.quantity} of {test.day}", n.reason) for n in checked.contradictions]
    runs = stretches(reliable, lambda test: test.field.settings.key)
    notes = []
    if unreliable:
        notes.append(f"{tests_in_words(len(unreliable))} left out as unreliable.")
    if len(runs) > 1:
        changed = runs[-1][0].field.settings.changes(runs[-2][-1].field.settings)
        notes.append(
            f"The series is broken on {runs[-1][0].day}: change of {' and '.join(changed)}. "
            f"{tests_in_words(sum(len(r) for r in runs[:-1]))} before it left out."
        )
    return Series(
        tests=runs[-1] if runs else (),
        earlier=tuple(test for run in runs[:-1] for test in run),
        unreliable=tuple(unreliable),
        notes=tuple(notes),
        left_out=tuple(left_out),
    )


def index_values(tests: Sequence[Test], name: str) -> tuple[list[float], list[float]]:
    """Years and values of an index, of the tests that have it."""
    found = [(t.year, index.value) for t in tests if (index := t.md if name == "md" else t.vfi) is not None]
    return [year for year, _ in found], [value for _, value in found]


def levels_of(series: Series, side: Laterality) -> tuple[list[tuple[float, float]], NDArray[np.float64]]:
    """Points with a sensitivity in every test, without the blind spot, and theirs: float64 [tests, points] in dB."""
    by_test = [{p.at: test.field.level(p) for p in test.field.points} for test in series.tests]
    common = [
        at
        for at in (by_test[0] if by_test else {})
        if all(levels.get(at) is not None for levels in by_test) and not garway_heath.is_blind_spot(*at, side)
    ]
    levels = [[levels[at] or 0.0 for at in common] for levels in by_test]
    return common, np.array(levels, dtype=np.float64).reshape(len(by_test), len(common))


def tests_in_words(count: int) -> str:
    """A number of tests with its noun."""
    return f"{count} test{'' if count == 1 else 's'}"
