"""Says what became of the lesions of an eye since its last photograph: new, grown, gone, by how much.

The earlier photograph is laid on the current one (`imaging.registration`); one that cannot be laid on it with proof is
not compared. The model (segmentation, the classes of `fundus-lesions`) looks at both as they are; its masks are matched
by overlap on the current one's pixels, where both fields overlap.
"""

from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import (
    Evaluation,
    Finding,
    Measurement,
    NotAnalysed,
    Region,
    Result,
    Segment,
    Segmentation,
    Ungradable,
)
from airouter.domain.job import Job
from airouter.domain.model import HeadKind
from airouter.domain.picture import Registration
from airouter.domain.priority import Ground, Priority, Verdict, verdict_of
from airouter.domain.study import Laterality, Modality
from airouter.imaging import contours
from airouter.imaging.field_of_view import field_of_view
from airouter.imaging.fundus import Fundus
from airouter.imaging.fundus_view import view
from airouter.imaging.lesion_change import Change, Lesion, changes
from airouter.imaging.registration import Limits, Registered, Unregistered, register_views
from airouter.imaging.visit import History
from airouter.pipelines.change_picture import change_picture
from airouter.pipelines.comparison import Chosen, choose, without_prior
from airouter.pipelines.photograph_maps import Maps, photograph_maps
from airouter.pipelines.pipeline import WHOLE_IMAGE, Extent, Parameter, Pipeline, Values
from airouter.ports import Predictor, ProgressSink

_LIMITS: Final = Limits()
PARAMETERS: Final = (
    Parameter("min_matches", _LIMITS.inliers, "1", "least number of details that agree", 4, 1000, whole=True),
    Parameter("min_correlation", _LIMITS.correlation, "1", "least correlation of the vessels in the overlap", 0.0, 1.0),
    Parameter("min_overlap", _LIMITS.overlap, "{ratio}", "least overlap by the smaller of both fields", 0.0, 1.0),
    Parameter("min_lesion_share", 5e-6, "{ratio}", "least area of a lesion as a share of the lit field", 0.0, 0.1),
    Parameter("reach", 0.006, "{ratio}", "least change of a lesion's diameter by the diameter of the field", 0.0, 0.1),
    Parameter("min_growth", 0.25, "{ratio}", "least change of a lesion's area by its former area", 0.0, 10.0),
    Parameter("high_new", 3, "1", "number of new lesions from which the priority is HIGH", 1, 10_000, whole=True),
    Parameter("high_growth", 0.002, "{ratio}", "rise of the lesions' area by the overlap for HIGH", 0.0, 1.0),
    Parameter("max_regions", 50, "1", "most changed lesions that get a region", 0, 1000, whole=True),
)

# Kinds of lesion with their code and what they are called. The last three are urgent as soon as they are new.
_KINDS: Final[tuple[tuple[str, str, Code], ...]] = (
    ("microaneurysm", "Microaneurysm", codes.MICROANEURYSM),
    ("haemorrhage", "Haemorrhage", codes.RETINAL_HAEMORRHAGE),
    ("hard-exudate", "Hard exudate", codes.HARD_EXUDATE),
    ("soft-exudate", "Soft exudate", codes.SOFT_EXUDATE),
    ("neovascularisation", "Neovascularisation", codes.RETINAL_NEOVASCULARISATION),
    ("vitreous-haemorrhage", "Vitreous haemorrhage", codes.VITREOUS_HAEMORRHAGE),
    ("retinal-detachment", "Retinal detachment", codes.RETINAL_DETACHMENT),
)
_URGENT: Final = ("neovascularisation", "vitreous-haemorrhage", "retinal-detachment")
_CHANGES: Final = {
    Change.NEW: codes.CHANGE_NEW,
    Change.GROWN: codes.CHANGE_GROWN,
    Change.SHRUNK: codes.CHANGE_SHRUNK,
    Change.GONE: codes.CHANGE_GONE,
    Change.NONE: codes.CHANGE_NONE,
}
_RIM: Final = 0.01  # of the field's width: what lies there may be cut off in one photograph


@dataclass(frozen=True, slots=True, eq=False)
class _Compared:
    """What became of each kind, on the pixels of the copy that `maps` are of. `overlap`: bool [rows, columns]."""

    maps: Maps
    overlap: NDArray[np.bool_] = field(repr=False)
    lesions: dict[str, list[Lesion]]

    @property
    def every(self) -> list[Lesion]:
        return [lesion for found in self.lesions.values() for lesion in found]

    def number(self, *wanted: Change) -> int:
        return sum(lesion.change in wanted for lesion in self.every)

    def rise(self) -> float:
        """Area now less area then, by the overlap."""
        pixels = sum(lesion.now - lesion.then for lesion in self.every)
        return pixels / max(1.0, float(self.overlap.sum()))


def run(job: Job, images: History[Fundus], predict: Predictor, progress: ProgressSink) -> Result | Ungradable:
    """New, grown and gone lesions since the latest earlier study, within what both photographs show.

    Ungradable with the reason without an earlier photograph of this eye, without dates, and where none can be laid on
    the current one. Raises ModelOutputError, JobCanceled, ConfigurationError.
    """
    values = Values(PARAMETERS, predict.model, job)
    current = images.current
    if current.laterality not in (Laterality.R, Laterality.L):
        return Ungradable("not analysed because the laterality is missing: earlier photographs cannot be told by eye")
    limits = Limits(
        inliers=int(values["min_matches"]), correlation=values["min_correlation"], overlap=values["min_overlap"]
    )

    if (nothing := without_prior(images, "photograph")) is not None:
        return nothing
    ours = view(current.rgb)
    if isinstance(ours, str):
        return Ungradable(f"not analysed because {ours}")

    def lay(earlier: Fundus) -> Registered | str:
        theirs = view(earlier.rgb)
        if isinstance(theirs, str):
            return theirs
        found = register_views(ours, theirs, limits)
        return found.reason if isinstance(found, Unregistered) else found

    total = len(images.priors) + 2
    progress(0, total, "images")
    chosen = choose(images, "photograph", lay, lambda laid: laid.quality.correlation)
    if isinstance(chosen, Ungradable):
        return chosen
    progress(len(images.priors), total, "images")
    compared = _compare(current, chosen, predict, values)
    progress(total, total, "images")
    return Result(
        findings=tuple(_findings(current, chosen, compared, values)),
        verdict=_verdict(chosen, compared, values),
        segmentations=(_segmentation(current, compared),),
        not_analysed=(*chosen.others, *_missing(current, compared, values)),
        execution_provider=predict.provider,
        pictures=(change_picture(current, compared.overlap, compared.every, chosen.day),),
        registrations=(
            Registration(
                role="registration",
                label=f"Photograph of {chosen.day} on the current one",
                fixed=current.instance_uid,
                moving=chosen.earlier.image.instance_uid,
                matrix=chosen.laid.matrix,
                kind=chosen.laid.kind,
            ),
        ),
    )


def _compare(current: Fundus, chosen: Chosen[Fundus, Registered], predict: Predictor, values: Values) -> _Compared:
    now, then = (
        photograph_maps(image.rgb, field_of_view(image.rgb)[0], predict) for image in (current, chosen.earlier.image)
    )
    matrix = np.diag([*now.scale, 1.0]) @ chosen.laid.matrix @ np.diag([1 / then.scale[0], 1 / then.scale[1], 1.0])
    rim = max(1, round(_RIM * now.field_width))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1, 2 * rim + 1))
    both = (now.lit & _laid(then.lit, matrix, now.lit.shape)).astype(np.uint8)
    overlap = cv2.erode(cv2.copyMakeBorder(both, 1, 1, 1, 1, cv2.BORDER_CONSTANT), kernel)[1:-1, 1:-1] > 0
    reach, least = values["reach"] * now.field_width, values["min_lesion_share"] * now.field_px
    lesions = {
        kind: changes(
            now.above(kind) & overlap,
            _laid(then.above(kind), matrix, now.lit.shape) & overlap,
            reach,
            values["min_growth"],
            max(1.0, least),
        )
        for kind, *_ in _KINDS
    }
    return _Compared(now, overlap, lesions)


def _laid(mask: NDArray[np.bool_], matrix: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask of the earlier photograph on the current one. `matrix`: of pixels whose first centre is (0.5, 0.5)."""
    half = np.array([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]])
    indices = (half @ matrix @ np.linalg.inv(half))[:2]
    moved = cv2.warpAffine(mask.astype(np.float32), indices, (shape[1], shape[0]), flags=cv2.INTER_LINEAR)
    return np.asarray(moved >= 0.5, np.bool_)


def _findings(
    current: Fundus, chosen: Chosen[Fundus, Registered], compared: _Compared, values: Values
) -> list[Finding]:
    quality = chosen.laid.quality
    outline = compared.maps.image(contours.outline(compared.overlap).astype(np.float64))
    region = Region("POLYGON", current.instance_uid, outline)
    back = np.linalg.inv(chosen.laid.matrix)
    prior = Region("POLYGON", chosen.earlier.image.instance_uid, outline @ back[:2, :2].T + back[:2, 2])
    share = float((compared.overlap & compared.maps.lit).sum()) / compared.maps.field_px
    words = f"Compared with the photograph of {chosen.day}, {chosen.days} days before."
    made = [
        Finding(
            key="comparison",
            label=f"Compared with {chosen.day}",
            finding=codes.PRIOR_COMPARISON,
            region=region,
            site=codes.EYE,
            laterality=current.laterality,
            measurements=(
                Measurement(codes.INTERVAL, chosen.days, codes.DAY),
                Measurement(codes.OVERLAP_SHARE, 100.0 * share, codes.PERCENT),
                Measurement(codes.REGISTERED_DETAILS, quality.inliers, codes.COUNTS),
                Measurement(codes.REGISTRATION_MISS, 100.0 * quality.error, codes.PERCENT),
                Measurement(codes.VESSEL_CORRELATION, quality.correlation, codes.ONE),
            ),
            comment=f"{words} The region is what both photographs show. {_limit(compared, values)}",
            method=codes.METHOD_PHOTO_CHANGE,
        ),
        Finding(
            key="earlier",
            label=f"Photograph of {chosen.day}",
            finding=codes.PRIOR_IMAGE,
            region=prior,
            site=codes.EYE,
            laterality=current.laterality,
            comment="The region is what both photographs show.",
        ),
    ]
    made += [_kind(current, compared, region, *kind) for kind in _KINDS if compared.lesions[kind[0]]]
    return [*made, *_changed(current, compared, values)]


def _limit(compared: _Compared, values: Values) -> str:
    return (
        f"A lesion has changed if its diameter changed by {100 * values['reach']:g} % of the field's and its area by "
        f"{100 * values['min_growth']:g} %; less is no change."
    )


def _kind(current: Fundus, compared: _Compared, region: Region, kind: str, name: str, code: Code) -> Finding:
    found = compared.lesions[kind]
    pixels = max(1.0, float(compared.overlap.sum()))
    now, then = sum(lesion.now for lesion in found), sum(lesion.then for lesion in found)
    measured = [
        Measurement(codes.LESION_COUNT, sum(lesion.parts_now for lesion in found), codes.COUNTS),
        Measurement(codes.COUNT_THEN, sum(lesion.parts_then for lesion in found), codes.COUNTS),
        *(
            Measurement(name_, sum(lesion.change is change for lesion in found), codes.COUNTS)
            for name_, change in (
                (codes.COUNT_NEW, Change.NEW),
                (codes.COUNT_GROWN, Change.GROWN),
                (codes.COUNT_GONE, Change.GONE),
            )
        ),
        Measurement(codes.SHARE_NOW, 100.0 * now / pixels, codes.PERCENT),
        Measurement(codes.SHARE_THEN, 100.0 * then / pixels, codes.PERCENT),
    ]
    if (pixel := _pixel_mm2(current, compared.maps)) is not None:
        measured += [
            Measurement(codes.AREA, now * pixel, codes.MM2),
            Measurement(codes.AREA_THEN, then * pixel, codes.MM2),
        ]
    return Finding(
        key=_key(kind),
        label=f"{name}, then and now",
        finding=code,
        region=region,
        site=codes.EYE,
        laterality=current.laterality,
        measurements=tuple(measured),
        comment="Shares are of what both photographs show.",
        method=codes.METHOD_PHOTO_CHANGE,
    )


def _changed(current: Fundus, compared: _Compared, values: Values) -> list[Finding]:
    """A finding for each new and each grown lesion, the largest change first."""
    wanted = [
        (lesion, *kind)
        for kind in _KINDS
        for lesion in compared.lesions[kind[0]]
        if lesion.change in (Change.NEW, Change.GROWN)
    ]
    wanted.sort(key=lambda each: (each[1] not in _URGENT, each[0].then - each[0].now, each[0].box))
    pixels = max(1.0, float(compared.overlap.sum()))
    numbers: dict[str, int] = {}
    made = []
    for lesion, kind, name, code in wanted[: int(values["max_regions"])]:
        numbers[kind] = numbers.get(kind, 0) + 1
        measured = [
            Measurement(codes.SHARE_NOW, 100.0 * lesion.now / pixels, codes.PERCENT),
            Measurement(codes.SHARE_THEN, 100.0 * lesion.then / pixels, codes.PERCENT),
        ]
        if (pixel := _pixel_mm2(current, compared.maps)) is not None:
            measured += [
                Measurement(codes.AREA, lesion.now * pixel, codes.MM2),
                Measurement(codes.AREA_THEN, lesion.then * pixel, codes.MM2),
            ]
        made.append(
            Finding(
                key=f"change/{kind}/{numbers[kind]}",
                label=f"{name} {numbers[kind]}, {lesion.change.value}",
                finding=code,
                region=Region("POLYGON", current.instance_uid, compared.maps.image(lesion.outline())),
                site=codes.EYE,
                laterality=current.laterality,
                measurements=tuple(measured),
                evaluations=(Evaluation(codes.CHANGE, _CHANGES[lesion.change]),),
                method=codes.METHOD_PHOTO_CHANGE,
            )
        )
    return made


def _pixel_mm2(current: Fundus, maps: Maps) -> float | None:
    """Area of a pixel of the copy where the photograph says its Pixel Spacing."""
    spacing = current.header.get("PixelSpacing")
    if not spacing or len(spacing) != 2:
        return None
    area = float(spacing[0]) * float(spacing[1]) / (maps.scale[0] * maps.scale[1])
    return area if np.isfinite(area) and area > 0 else None


def _missing(current: Fundus, compared: _Compared, values: Values) -> list[NotAnalysed]:
    found = []
    outside = 1.0 - float((compared.overlap & compared.maps.lit).sum()) / compared.maps.field_px
    if outside > 0.05:
        why = f"not analysed because the earlier photograph does not show {100 * outside:.0f} % of the field"
        found.append(NotAnalysed("lesions outside of the overlap", why))
    if _pixel_mm2(current, compared.maps) is None:
        found.append(NotAnalysed("areas in mm2", "not analysed because Pixel Spacing is missing"))
    many = compared.number(Change.NEW, Change.GROWN)
    if many > values["max_regions"]:
        why = f"not analysed because {many} lesions are new or grown; {values['max_regions']:g} have a region"
        found.append(NotAnalysed("region of every changed lesion", why))
    known = [kind for kind, *_ in _KINDS if compared.maps.model.head.index(kind) is None]
    found += [NotAnalysed(f"change of {kind}", "not analysed because the model has no such class") for kind in known]
    return found


def _segmentation(current: Fundus, compared: _Compared) -> Segmentation:
    """New (with what grown ones gained), gone (with what smaller ones lost) and unchanged, on the current pixels."""
    small = np.zeros(compared.overlap.shape, np.uint8)
    for found in compared.lesions.values():
        for lesion in found:
            top, left, bottom, right = lesion.box
            part = small[top:bottom, left:right]
            if lesion.change is Change.NONE:
                part[lesion.inside_now] = 3
                continue
            part[lesion.inside_now & lesion.inside_then] = 3
            part[lesion.inside_then & ~lesion.inside_now] = 2
            part[lesion.inside_now & ~lesion.inside_then] = 1
    rows, columns = current.rgb.shape[:2]
    mask = np.asarray(cv2.resize(small, (columns, rows), interpolation=cv2.INTER_NEAREST), np.uint8)
    kinds = ((1, "New", codes.CHANGE_NEW), (2, "Gone", codes.CHANGE_GONE), (3, "Unchanged", codes.CHANGE_NONE))
    there = [kind for kind in kinds if (mask == kind[0]).any()] or [kinds[2]]
    numbers = np.zeros(4, np.uint8)
    for number, (value, *_) in enumerate(there, 1):
        numbers[value] = number
    return Segmentation(
        role="change",
        label="Change of lesions",
        source=current.instance_uid,
        mask=numbers[mask][np.newaxis],
        segments=tuple(
            Segment(n, name, codes.MORPHOLOGICALLY_ABNORMAL_STRUCTURE, code)
            for n, (_, name, code) in enumerate(there, 1)
        ),
        frames=(1,),
    )


def _verdict(chosen: Chosen[Fundus, Registered], compared: _Compared, values: Values) -> Verdict:
    grounds = []
    for kind, name, _ in _KINDS:
        news = sum(lesion.change is Change.NEW for lesion in compared.lesions[kind])
        if news and kind in _URGENT:
            grounds.append(Ground(Priority.HIGH, f"new {name.lower()} since {chosen.day}", (_key(kind),)))
    new, grown, gone = (compared.number(change) for change in (Change.NEW, Change.GROWN, Change.GONE))
    if new >= values["high_new"]:
        reason = f"{new} new lesions since {chosen.day}, {values['high_new']:g} are the limit"
        grounds.append(Ground(Priority.HIGH, reason, _with(compared, Change.NEW)))
    if compared.rise() >= values["high_growth"] > 0:
        reason = (
            f"the lesions' area rose by {100 * compared.rise():.2f} % of the compared field since {chosen.day}, "
            f"{100 * values['high_growth']:g} % is the limit"
        )
        grounds.append(Ground(Priority.HIGH, reason, _larger(compared)))
    if grounds:
        return verdict_of(*grounds)
    changed = _with(compared, Change.NEW, Change.GROWN, Change.GONE)
    if not changed:
        return verdict_of(Ground(Priority.ROUTINE, f"no change of lesions beyond the limits since {chosen.day}"))
    said = f"since {chosen.day}: {new} new, {grown} grown, {gone} gone lesions"
    return verdict_of(Ground(Priority.ROUTINE, said, changed))


def _key(kind: str) -> str:
    """Key of the finding of a kind of lesion."""
    return f"kind/{kind}"


def _larger(compared: _Compared) -> tuple[str, ...]:
    """Keys of the kinds whose lesions cover more than before."""
    rises = {kind: sum(each.now - each.then for each in compared.lesions[kind]) for kind, *_ in _KINDS}
    return tuple(_key(kind) for kind, rise in rises.items() if rise > 0)


def _with(compared: _Compared, *wanted: Change) -> tuple[str, ...]:
    """Keys of the kinds of which a lesion has changed so."""
    return tuple(_key(kind) for kind, *_ in _KINDS if any(each.change in wanted for each in compared.lesions[kind]))


PIPELINE: Final = Pipeline(
    name="fundus-comparison",
    version="1.0.0",
    modality=Modality.OP,
    head=HeadKind.SEGMENTATION,
    classes=("microaneurysm", "haemorrhage", "hard-exudate", "soft-exudate", "neovascularisation"),
    run=run,
    parameters=PARAMETERS,
    fits=WHOLE_IMAGE,
    extent=Extent.PRIOR,
)
