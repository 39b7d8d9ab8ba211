"""What a test of the visual field consists of: points, lapses of the patient, global indices, settings."""

from dataclasses import dataclass

from airouter.domain.code import Code


@dataclass(frozen=True, slots=True)
class Location:
    """One test point at (`x`, `y`) degrees of the patient's field, to the right and upwards positive.

    `seen`: whether the stimulus was seen at all. `sensitivity` in dB, of a point not seen what the perimeter wrote or
    None. `total`, `pattern`: deviation from the normal of the age, without and with correction of a general depression,
    in dB; `total_p`, `pattern_p`: their probability among normals in %.
    """

    x: float
    y: float
    seen: bool
    sensitivity: float | None
    total: float | None = None
    total_p: float | None = None
    pattern: float | None = None
    pattern_p: float | None = None

    @property
    def at(self) -> tuple[float, float]:
        return self.x, self.y


@dataclass(frozen=True, slots=True)
class Count:
    """How often something happened in so many trials, at least one."""

    times: int
    trials: int

    @property
    def ratio(self) -> float:
        return self.times / self.trials


@dataclass(frozen=True, slots=True)
class Reliability:
    """Lapses of the patient: as counted in catch trials, and as estimated by the perimeter in per cent.

    `excessive`: what the perimeter itself calls excessive.
    """

    fixation_losses: Count | None = None
    false_positives: Count | None = None
    false_positive_percent: float | None = None
    false_negatives: Count | None = None
    false_negative_percent: float | None = None
    excessive: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Index:
    """A global index and its probability among normals in %."""

    value: float
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """How the test was made. Two fields of different settings are not one series.

    `device`: manufacturer and model. `stimulus_deg2`: area of the stimulus in square degrees. `normals`: name and
    version of the normative data that the indices refer to.
    """

    device: str
    pattern: Code | None
    strategy: Code | None
    stimulus_deg2: float | None
    normals: str

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal settings; codes count by their value, since writers name one code differently."""
        return (
            self.device,
            self.pattern.value if self.pattern else None,
            self.strategy.value if self.strategy else None,
            self.stimulus_deg2,
            self.normals,
        )

    def changes(self, since: "Settings") -> tuple[str, ...]:
        """What differs from earlier settings, by name."""
        words = ("device", "test pattern", "strategy", "stimulus size", "normative data")
        return tuple(word for word, new, old in zip(words, self.key, since.key, strict=True) if new != old)
