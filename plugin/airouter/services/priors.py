"""Earlier images of a study's patient, as far as the archive holds them."""

from collections.abc import Callable, Iterator

from airouter.domain.study import EYES, Modality, Prior, Study
from airouter.errors import NotInArchive
from airouter.ports import Archive, Journal

# What routing asks for the images that may be priors, once it has a route that compares.
Priors = Callable[[], tuple[Prior, ...]]


def priors_of(archive: Archive, journal: Journal, study: Study) -> tuple[Prior, ...]:
    """Every image of the eye in the studies of the study's patient, this one among them; never one that we wrote.

    None where no image of the study says a Patient ID: an archive takes all such studies for one patient's.
    """
    if not any(i.first("PatientID") for i in study.instances if i.modality is not None):
        return ()
    found: list[Prior] = []
    for other in (study, *others_of_patient(archive, study)):
        images = [i for i in other.instances if i.modality is not None and i.modality is not Modality.SM]
        ours = journal.ours([i.uid for i in images])
        found += [Prior(other.id, i) for i in images if i.uid not in ours]
    return tuple(found)


def others_of_patient(archive: Archive, study: Study) -> Iterator[Study]:
    """The other studies of a study's patient that hold images of the eye; one that is deleted meanwhile is left out."""
    for stamp in archive.studies(patient_of=study.id, modalities=EYES):
        if stamp.id == study.id:
            continue
        try:
            yield archive.study(stamp.id)
        except NotInArchive:
            continue
