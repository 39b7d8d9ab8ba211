"""A coded concept (PS3.3 section 8)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """Code Value, Coding Scheme Designator, Code Meaning.

    Raises ValueError for an empty part or a meaning above the 64 characters that LO allows.
    """

    value: str
    scheme: str
    meaning: str

    def __post_init__(self) -> None:
        if not (self.value and self.scheme and self.meaning):
            raise ValueError(f"a code needs value, scheme and meaning: {self!r}")
        if len(self.meaning) > 64:
            raise ValueError(f"code meaning is longer than 64 characters: {self.meaning!r}")

    def __str__(self) -> str:
        return f"{self.meaning} ({self.value}, {self.scheme})"
