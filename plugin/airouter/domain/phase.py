"""How far a model has come in this hospital."""

from enum import StrEnum


class Phase(StrEnum):
    """Phase of a model's introduction; what each lets through is in docs/explanation/safety.md."""

    SILENT = "silent"
    ASSISTIVE = "assistive"
    INTEGRATED = "integrated"
