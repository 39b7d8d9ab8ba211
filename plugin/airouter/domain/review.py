"""What a reader decides about one finding, and the states that a finding goes through.

A finding is named by its job and its key within the result. Each decision makes a new version of its state: versions
count from 0 (nobody has decided), and a decision names the version that the reader saw.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ReviewState(StrEnum):
    """Where a finding stands."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    AMENDED = "amended"
    REJECTED = "rejected"


class Verb(StrEnum):
    """What a reader does with a finding."""

    ACCEPT = "accept"
    AMEND = "amend"
    REJECT = "reject"
    WITHDRAW = "withdraw"  # take back what was decided: the finding is pending again


_AFTER: Mapping[tuple[ReviewState, Verb], ReviewState] = {
    (ReviewState.PENDING, Verb.ACCEPT): ReviewState.ACCEPTED,
    (ReviewState.PENDING, Verb.AMEND): ReviewState.AMENDED,
    (ReviewState.PENDING, Verb.REJECT): ReviewState.REJECTED,
    (ReviewState.ACCEPTED, Verb.AMEND): ReviewState.AMENDED,
    (ReviewState.AMENDED, Verb.AMEND): ReviewState.AMENDED,
    (ReviewState.ACCEPTED, Verb.WITHDRAW): ReviewState.PENDING,
    (ReviewState.AMENDED, Verb.WITHDRAW): ReviewState.PENDING,
    (ReviewState.REJECTED, Verb.WITHDRAW): ReviewState.PENDING,
}


def after(state: ReviewState, verb: Verb) -> ReviewState | None:
    """The state that follows, None where the verb means nothing there: what was decided is withdrawn first."""
    return _AFTER.get((state, verb))


@dataclass(frozen=True, slots=True, eq=False)
class Amendment:
    """What a reader puts in the place of the machine's answer; what is not named stays.

    `measurements`: number by code value of the measurement's concept, in the unit of the finding. `evaluations`: code
    value of the answer by code value of the evaluation's concept. `points`: float64 [n, 2] of (column, row) in pixels
    of the finding's own image, of the same graphic type.
    """

    measurements: Mapping[str, float] = field(default_factory=dict)
    evaluations: Mapping[str, str] = field(default_factory=dict)
    points: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """One decision as it is asked for. `version`: of the finding's state that the reader saw.

    `reason`: code value of a reason of rejection (airouter.domain.codes); `comment`: in the reader's own words.
    """

    job: str
    finding: str
    version: int
    verb: Verb
    reason: str | None = None
    comment: str | None = None
    amendment: Amendment | None = None


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One version of a finding's state, as it is kept. `at` is an ISO 8601 time, UTC.

    `amendment` as plain JSON values, of the last amendment that still stands.
    """

    job: str
    finding: str
    version: int
    verb: Verb
    state: ReviewState
    by: str
    at: str
    reason: str | None = None
    comment: str | None = None
    amendment: Mapping[str, Any] | None = None
