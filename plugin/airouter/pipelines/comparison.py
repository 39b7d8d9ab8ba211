"""What the comparisons with an earlier image share: when both were taken, and which earlier one is compared with."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Generic, TypeVar

from airouter.domain.finding import NotAnalysed, Ungradable
from airouter.imaging.visit import Earlier, EyeImage, History

T = TypeVar("T", bound=EyeImage)
Laid = TypeVar("Laid")


@dataclass(frozen=True, slots=True, eq=False)
class Chosen(Generic[T, Laid]):
    """The earlier image that lies best on the current one, how it lies, and why others do not.

    `days`: between both. `day`: of the earlier one, as YYYY-MM-DD.
    """

    earlier: Earlier[T]
    laid: Laid
    days: int
    day: str
    others: tuple[NotAnalysed, ...]


def choose(
    history: History[T],
    image: str,
    lay: Callable[[T], Laid | str],
    goodness: Callable[[Laid], float],
) -> Chosen[T, Laid] | Ungradable:
    """Try each earlier image. `image`: what it is called. `lay`: how it lies on the current one, or why it does not.

    Ungradable without an earlier image that can be used, without dates, or where none can be laid on the current one.
    """
    if (nothing := without_prior(history, image)) is not None:
        return nothing
    quantity = f"comparison with an earlier {image}"
    others = [NotAnalysed(quantity, refused.reason) for refused in history.refused]
    current = _day(history.taken)
    assert current is not None  # `without_prior` has asked
    best: tuple[float, Earlier[T], Laid, date] | None = None
    for earlier in history.priors:
        day = _day(earlier.taken)
        if day is None:
            others.append(NotAnalysed(quantity, f"not analysed because the date of the earlier {image} is missing"))
            continue
        if earlier.image.laterality is not history.current.laterality:
            others.append(NotAnalysed(quantity, f"not analysed because the earlier {image} is of the other eye"))
            continue
        laid = lay(earlier.image)
        if isinstance(laid, str):
            why = f"not analysed because the earlier {image} of {day} cannot be laid on this one: {laid}"
            others.append(NotAnalysed(quantity, why))
        elif best is None or goodness(laid) > best[0]:
            best = (goodness(laid), earlier, laid, day)
    if best is None:
        return Ungradable(others[-1].reason)
    _, earlier, laid, day = best
    return Chosen(earlier, laid, (current - day).days, day.isoformat(), tuple(others))


def without_prior(history: History[T], image: str) -> Ungradable | None:
    """Why there is nothing to compare with, before any pixel is looked at; None where there is."""
    if not history.priors:
        if history.refused:
            return Ungradable(history.refused[0].reason)
        return Ungradable(f"not analysed because the archive holds no earlier {image} of this eye")
    if _day(history.taken) is None:
        return Ungradable(f"not analysed because the date of the {image} is missing")
    return None


def _day(taken: str) -> date | None:
    try:
        return datetime.strptime(taken[:8], "%Y%m%d").date()
    except ValueError:
        return None
