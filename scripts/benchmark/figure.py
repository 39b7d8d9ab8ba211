"""One line of a benchmark's table, and what a run was asked for."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Options:
    """`quick`: smaller slides and fewer repeats, to see that everything runs; its figures say little.

    `work`: an empty folder to write in; `threads`: worker threads of every contender; `repeats`: interleaved rounds;
    `provider`: execution provider as the configuration names it; `peers`: install and measure other software too.
    """

    work: Path
    quick: bool = False
    threads: int = 2
    repeats: int = 5
    provider: str = "CPU"
    peers: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured figure: `group` and `name` say what, `unit` is UCUM ("1" for ratios), `value` None where not measured.

    `bound` and `target`: what is to be reached ("least" or "most"), None where only reported. `samples` are the single
    measurements behind a median; `detail` what a reader needs besides, e.g. why a figure is missing.
    """

    group: str
    name: str
    value: float | None
    unit: str = "1"
    bound: Literal["least", "most"] | None = None
    target: float | None = None
    samples: tuple[float, ...] = ()
    detail: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None where there is none or nothing was measured."""
        if self.value is None or self.bound is None or self.target is None:
            return None
        return self.value >= self.target if self.bound == "least" else self.value <= self.target

    def as_json(self) -> dict[str, Any]:
        """Plain values for the JSON beside the table."""
        return asdict(self) | {"reached": self.reached}
