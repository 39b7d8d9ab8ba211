"""Quality at acquisition: whether a photograph or a tomography can be graded, told at once and stored nowhere."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.finding import Ungradable
from airouter.domain.model import HeadKind, Model, ModelClass
from airouter.domain.study import Modality
from airouter.errors import NotInArchive, PixelDataError, RequestError
from airouter.imaging.alignment import Alignment, alignment
from airouter.imaging.fundus import Fundus
from airouter.imaging.oct import OctVolume
from airouter.imaging.oct_quality import CUT_SHARE, POOR_DB, TILT_DEG, WEAK_DB, VolumeQuality, volume_quality
from airouter.imaging.upload import Fault, Rejected, dicom, picture
from airouter.pipelines import PIPELINES, problem
from airouter.pipelines.photograph_maps import photograph_maps
from airouter.pipelines.photograph_quality import LIMITS, Lit, judged, lit
from airouter.pipelines.pipeline import WHOLE_IMAGE
from airouter.ports import Predictor

MOST_BYTES: Final = 128 << 20  # of a stored file; what is sent is bounded before it comes here (web.guard)
PHOTOGRAPH: Final = "photograph"
TOMOGRAPHY: Final = "tomography"
IMAGE: Final = "image"  # one that no pipeline reads
_DISC: Final = "optic-disc"
_FOVEA: Final = "fovea"
_SIDE: Final = 768  # most pixels of a side of the copy that disc and fovea are looked for in
_PIPELINE: Final = "fundus-quality"

# What a class of the model means to whoever stands at the camera, by its code and else by its name.
_BY_CODE: Final = {
    codes.OUT_OF_FOCUS: "focus",
    codes.POOR_ILLUMINATION: "illumination",
    codes.LOW_CONTRAST: "contrast",
    codes.FIELD_INCOMPLETE: "field",
}
_BY_NAME: Final = {
    "out-of-focus": "focus",
    "illumination": "illumination",
    "low-contrast": "contrast",
    "field": "field",
    "artefact": "artefact",
    "not-a-fundus": "content",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """What speaks against an image. `kind`: focus, illumination, contrast, field, artefact, alignment, signal, missing,
    content, format or other; `blocks`: it cannot be graded for this; `probability` as the model says, else None."""

    kind: str
    detail: str
    blocks: bool
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Quality:
    """The answer on one image. `rating`: 0 to 100, of a photograph; `measures`: numbers by names that tell their units.

    `model`: what judged it, None where none was needed. `milliseconds`: how long it took, without the transfer.
    """

    kind: str
    gradable: bool
    reasons: tuple[Reason, ...]
    rating: float | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    model: Model | None = None
    milliseconds: float = 0.0


@dataclass(frozen=True, slots=True)
class NoModel:
    """There is no usable model to judge a photograph with."""

    reason: str


class Files(Protocol):
    """Stored files as a user may read them; adapters.sight.OrthancSight is one."""

    def file(self, instance: str, headers: Mapping[str, str], most: int) -> bytes | int | None:
        """The file of an instance by the archive's identifier, as whoever sent a request with these headers may read
        it; its size in bytes instead where that is more than `most`; None where they may not. Raises NotInArchive,
        ArchiveUnavailable."""


class QualityCheck:
    """Judges images one by one. Threads may share it.

    `models`: the usable ones by name; `predictor` gives the loaded one.
    """

    def __init__(self, models: Mapping[str, Model], predictor: Callable[[str], Predictor], files: Files) -> None:
        self._models = models
        self._predictor = predictor
        self._files = files

    def picture(self, data: bytes) -> Quality | Rejected | NoModel:
        """A JPEG or PNG: a photograph of the fundus. Raises ModelError."""
        began = time.perf_counter()
        rgb = picture(data)
        return rgb if isinstance(rgb, Rejected) else _timed(self._photograph(rgb, None), began)

    def dicom(self, data: bytes, model: str | None = None) -> Quality | Rejected | NoModel:
        """A DICOM file: a photograph of the fundus or a tomography. Raises RequestError, ModelError."""
        began = time.perf_counter()
        opened = dicom(data)
        if isinstance(opened, Rejected):
            return opened
        if isinstance(opened, Ungradable):
            return _timed(Quality(IMAGE, False, (Reason("format", opened.reason, True),)), began)
        try:
            if isinstance(opened, Fundus):
                return _timed(self._photograph(opened.rgb, model), began)
            return _timed(_tomography(opened), began)
        except PixelDataError as error:
            return Rejected(Fault.UNREADABLE, str(error))

    def stored(
        self, instance: str, headers: Mapping[str, str], model: str | None = None
    ) -> Quality | Rejected | NoModel | None:
        """A stored instance by the archive's identifier, None where the user may see no such instance.

        Raises RequestError, ModelError, ArchiveUnavailable.
        """
        try:
            data = self._files.file(instance, headers, MOST_BYTES)
        except NotInArchive:
            return None
        if data is None:
            return None
        if isinstance(data, int):
            return Rejected(Fault.TOO_LARGE, f"the instance has {data} bytes, more than {MOST_BYTES}")
        return self.dicom(data, model)

    def _photograph(self, rgb: NDArray[np.uint8], name: str | None) -> Quality | NoModel:
        model = self._judge(name)
        if isinstance(model, NoModel):
            return model
        limits = {p.name: float(p.default or 0.0) for p in LIMITS}
        limits.update({key: float(given) for key, given in model.parameters.items() if key in limits})
        seen = lit(rgb, limits)
        if isinstance(seen, Ungradable):
            kind = "format" if "pixels" in seen.reason else "illumination"
            return Quality(PHOTOGRAPH, False, (Reason(kind, seen.reason, True),), model=model)
        found = judged(rgb, seen, self._predictor(model.name))
        reasons = [Reason(_kind(c), c.name, not found.gradable, p) for c, p in found.reasons]
        measures = {"field_share": round(found.share, 3)}
        aligned = self._aligned(rgb, seen) if found.gradable else None
        if aligned is not None:
            if aligned.problem:
                reasons.append(Reason("alignment", aligned.problem, False))
            for name_, distance in (("fovea_from_edge_dd", aligned.fovea), ("disc_from_edge_dd", aligned.disc)):
                if distance is not None:
                    measures[name_] = round(distance, 1)
        return Quality(
            kind=PHOTOGRAPH,
            gradable=found.gradable,
            reasons=tuple(reasons),
            rating=round(100.0 * found.certain, 1),
            measures=measures,
            model=model,
        )

    def _aligned(self, rgb: NDArray[np.uint8], seen: Lit) -> Alignment | None:
        """Where disc and fovea lie in the field, by the first model by name that finds them; None without one."""
        fits = [model.name for model in self._models.values() if _finds_landmarks(model)]
        if not fits:
            return None
        maps = photograph_maps(rgb, seen.outline, self._predictor(min(fits)), _SIDE)
        return alignment(maps.above(_DISC), maps.above(_FOVEA), seen.outline * maps.scale)

    def _judge(self, name: str | None) -> Model | NoModel:
        """The named model, or the first by name that can judge photographs. Raises RequestError for one that cannot."""
        pipeline = PIPELINES[_PIPELINE]
        if name is not None:
            named = self._models.get(name)
            why = "is not usable or does not exist" if named is None else problem(pipeline, named)
            if named is None or why:
                raise RequestError(f"model {name!r} cannot judge photographs: {why}")
            return named
        fits = [model for model in self._models.values() if problem(pipeline, model) is None]
        if not fits:
            return NoModel("no usable model judges the quality of photographs")
        return min(fits, key=lambda model: model.name)


def _finds_landmarks(model: Model) -> bool:
    """Whether a model segments disc and fovea in a whole photograph."""
    known = model.head.index(_DISC) is not None and model.head.index(_FOVEA) is not None
    segments = model.reads.modality is Modality.OP and model.head.kind is HeadKind.SEGMENTATION
    return known and segments and model.input.fit in WHOLE_IMAGE and not model.reads.laterality_required


def _kind(answer: ModelClass) -> str:
    if answer.code is not None and answer.code in _BY_CODE:
        return _BY_CODE[answer.code]
    return _BY_NAME.get(answer.name, "other")


def _tomography(volume: OctVolume) -> Quality:
    """Missing B-scans, too little signal and a retina cut off keep a volume from being graded; a tilt is told."""
    found = volume_quality(volume)
    reasons = tuple(_against(found))
    measures = {"frames": float(found.frames), "frames_looked_at": float(len(found.scans))}
    if found.signal_db is not None:
        measures["lowest_signal_db"] = round(found.signal_db, 1)
    if found.tilt_deg is not None:
        measures["largest_tilt_deg"] = round(found.tilt_deg, 1)
    return Quality(TOMOGRAPHY, not any(reason.blocks for reason in reasons), reasons, measures=measures)


def _against(found: VolumeQuality) -> Sequence[Reason]:
    reasons = []
    if found.blank:
        reasons.append(Reason("missing", f"nothing is in B-scans {_numbers(found.blank)}", True))
    weakest = found.weakest
    if weakest is not None and weakest.signal_db is not None and weakest.signal_db < WEAK_DB:
        said = f"B-scan {weakest.number} has {weakest.signal_db:.1f} dB of signal to noise, {WEAK_DB:g} are wanted"
        reasons.append(Reason("signal", said, weakest.signal_db < POOR_DB))
    for side, cut in (("top", found.cut_top), ("bottom", found.cut_bottom)):
        if cut:
            said = f"the retina leaves B-scans {_numbers(cut)} at the {side}"
            reasons.append(Reason("field", said, len(cut) > CUT_SHARE * len(found.scans)))
    if found.tilt_deg is not None and found.tilt_deg > TILT_DEG:
        reasons.append(Reason("alignment", f"the retina is tilted by {found.tilt_deg:.0f} degrees", False))
    return reasons


def _numbers(numbers: Sequence[int]) -> str:
    said = ", ".join(str(n) for n in numbers[:5])
    return f"{said} and {len(numbers) - 5} more" if len(numbers) > 5 else said


def _timed(found: Quality | NoModel, began: float) -> Quality | NoModel:
    if isinstance(found, NoModel):
        return found
    return replace(found, milliseconds=round(1000.0 * (time.perf_counter() - began), 1))
