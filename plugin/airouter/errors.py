"""The one tree of failures.

    RouterError
    ├── ConfigurationError      the AIRouter section, a route or a manifest is wrong: fix it, nothing was run
    ├── RequestError            a user asked for something that makes no sense: nothing was run
    ├── ArchiveError
    │   ├── ArchiveUnavailable  transient: Orthanc does not answer (yet)
    │   ├── NotInArchive        the study or instance is gone: nothing is written for it
    │   ├── EvidenceConflict    another object already stands under our UID
    │   └── ImportConflict      the slide is stored already, for another patient, study or container
    ├── JournalError            our own database is damaged, or of a newer version
    │   ├── AuditKeyError       the key of the audit trail is missing, or another one
    │   └── JournalUnavailable  transient: it is locked, or its disk is full
    ├── PixelDataError          stored pixel data cannot be decoded
    ├── ModelError
    │   ├── ManifestError       a model folder is wrong
    │   ├── ModelRefused        weights that must not be loaded: tampered, external data, foreign operators
    │   ├── ModelOutputError    NaN, infinity or an unexpected shape came out
    │   └── NotQuantizable      no 8-bit weights can be made of this model with these images: nothing was written
    ├── EvidenceError           a DICOM object we made does not conform and was not stored
    ├── SlideError              a slide that is no DICOM object cannot become one: nothing was stored
    │   ├── SidecarError        what must be known of it is missing or wrong
    │   ├── NoRoom              transient: no space for the temporary files
    │   └── ImportStopped       transient: the router stops
    ├── JobCanceled             an operator canceled the job
    ├── JobOutdated             the model or pipeline that the job was made for was replaced
    └── StateLocked             another process owns the state folder, or the import folder

Expected outcomes (a skipped route, an ungradable image) are values, never exceptions.
A worker retries an error only if its class is `transient`. `advice` says what the operator should do.
Messages may reach Orthanc's log: they carry identifiers of objects, never names or numbers of patients.
"""

from typing import ClassVar


class RouterError(Exception):
    """Base of every failure the router raises itself."""

    transient: ClassVar[bool] = False
    advice: ClassVar[str] = "See the router's log; report it if it happens again."


class ConfigurationError(RouterError):
    """A setting is unknown, of the wrong type or impossible.

    `path` is the JSON path from the root of orthanc.json, e.g. ``AIRouter.Routes[0].Match.Rows``.
    """

    advice = "Correct the named setting in orthanc.json and restart Orthanc; `airouter check` tests it beforehand."

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class RequestError(RouterError):
    """A user asked for something impossible, such as a route that does not exist."""

    advice = "Correct the request as docs/reference/rest.md says; GET /ai/models and /ai/decisions name what there is."


class ArchiveError(RouterError):
    """The archive refused or failed."""


class ArchiveUnavailable(ArchiveError):
    """The archive does not answer, or answers that it cannot now."""

    transient = True
    advice = "Check that Orthanc's HTTP server answers and that its disk is not full; the job is tried again."


class NotInArchive(ArchiveError):
    """A study or instance is not, or no longer, in the archive."""

    advice = "Nothing to do if it was deleted on purpose; otherwise send it again."


class EvidenceConflict(ArchiveError):
    """The archive already holds a different object under one of our UIDs."""

    advice = "Compare the two objects; delete the foreign one and run the job again."


class ImportConflict(ArchiveError):
    """The archive holds this very slide for another patient, study or container, or the study for another patient."""

    advice = "Correct the sidecar, or delete what is stored wrongly in Orthanc and import the slide again."


class JournalError(RouterError):
    """Our own database cannot be used: damaged, or written by a newer version of the router."""

    advice = "Restore the state folder from a backup, or install the router version that wrote it."


class AuditKeyError(JournalError):
    """The audit trail cannot be continued: its key is missing, or is not the one that it was begun with."""

    advice = (
        "Put the key back from its backup: AIRouter.Audit.KeyFile, or audit.key in the state folder;"
        " docs/how-to/back-up-and-upgrade.md says what to do where it is lost."
    )


class JournalUnavailable(JournalError):
    """Our own database does not take the write now: locked for too long, disk full, or its server is down."""

    transient = True
    advice = "Free space on the disk of the state folder, or start the database server; the job is tried again."


class PixelDataError(RouterError):
    """Pixel data is truncated, of an unsupported encoding, or not what the header says."""

    advice = "Retrieve the image from the modality again; the stored copy cannot be decoded."


class ModelError(RouterError):
    """A model cannot be used."""


class ManifestError(ModelError):
    """A model folder's manifest is missing, malformed or contradicts the weights."""

    advice = "Correct manifest.yaml as docs/reference/manifest.md says; `airouter models` tests it."


class ModelRefused(ModelError):
    """The weights must not be loaded: wrong digest, external data, foreign operators, or a failed self-test."""

    advice = "Restore the model folder from its source; a changed file needs a new version and digest in its manifest."


class ModelOutputError(ModelError):
    """The model answered with NaN, infinity, values out of range or another shape than its manifest says."""

    advice = "Do not use this model on such images; report it to whoever made it."


class NotQuantizable(ModelError):
    """8-bit weights cannot be made, or their agreement with the model cannot be measured."""

    advice = "docs/how-to/quantize-a-model.md says what a model and its images must be like."


class EvidenceError(RouterError):
    """A DICOM object made from a result does not conform to its IOD."""

    advice = "Report it with the job key; nothing was stored."


class SlideError(RouterError):
    """A slide's file is damaged, of a format that is not read, or lacks what every analysis needs."""

    advice = "Check that the file was copied whole and opens in a slide viewer; docs/how-to/import-slides.md has more."


class SidecarError(SlideError):
    """What must be known of a slide is missing or wrong."""

    advice = "Correct the sidecar `<file name>.json` beside the slide, as docs/how-to/import-slides.md says."


class NoRoom(SlideError):
    """There is no space for the temporary files of a conversion."""

    transient = True
    advice = "Free space on the disk of the temporary files; the slide is tried again."


class ImportStopped(SlideError):
    """The router stops while a slide is converted."""

    transient = True
    advice = "Nothing to do: the slide is taken up again at the next start."


class JobCanceled(RouterError):
    """The job was canceled while it ran."""

    advice = "Nothing to do: an operator canceled it. POST /ai/jobs runs it again."


class JobOutdated(RouterError):
    """The very model or pipeline version a job was made for is not installed any more: its result would be another."""

    advice = "POST /ai/jobs on the study makes a job with what is installed now."


class StateLocked(RouterError):
    """Another process holds the lock of the state folder, or of the import folder."""

    advice = "Stop the other Orthanc or give this one its own AIRouter.StateDirectory and AIRouter.ImportDirectory."


def place(error: BaseException) -> str:
    """Module and line of the innermost frame: what may be logged of a foreign exception, whose text may quote data."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
