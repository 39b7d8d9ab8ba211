"""Who may do what: the roles of the reading room."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a user is to the router. One user may hold several."""

    TECHNICIAN = "technician"  # sends images, sees their quality, repeats scans
    READER = "reader"  # pathologist or ophthalmologist: reads, accepts, amends, rejects
    SUPERVISOR = "supervisor"  # a reader who also assigns work and sets priorities for others
    GOVERNANCE = "governance"  # answers for the models: audit trail, phases; no reading
    ADMINISTRATOR = "administrator"  # runs the server: jobs, models, Orthanc itself; no reading


@dataclass(frozen=True, slots=True)
class Person:
    """Who sent a request. `name` is Orthanc's user name, None where Orthanc does not ask for one.

    `dicom_name` and `organization`: how a verified report names them (VR PN and LO).
    """

    name: str | None
    roles: frozenset[Role]
    dicom_name: str = ""
    organization: str = ""

    def has(self, *roles: Role) -> bool:
        """Whether one of these roles is held."""
        return not self.roles.isdisjoint(roles)
