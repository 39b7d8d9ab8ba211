"""Pictures of what the viewer cannot draw: maps, captured pictures, visual fields, and cuts of source images.

Who may see a study is asked of the archive in the user's name; where to look is asked of it in the router's own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from airouter.domain.finding import Ungradable
from airouter.domain.picture import Chart
from airouter.domain.plot import FieldPanel, FieldPlot, FieldPoint
from airouter.domain.study import Instance, Modality, Study
from airouter.errors import NotInArchive, PixelDataError, RequestError
from airouter.evidence.plot import field_png, plane_png
from airouter.imaging.codecs import FrameFormat, decode
from airouter.imaging.crop import Box, cut, cut_of_slide, encoded
from airouter.imaging.field import VisualField
from airouter.imaging.header import integer
from airouter.imaging.perimetry import Location
from airouter.imaging.reader import open_images
from airouter.imaging.slide import Slide
from airouter.imaging.stored_plane import PARAMETRIC_MAP, THICKNESS_MAP, stored_plane
from airouter.ports import Archive, Journal, Sight
from airouter.services.quality import Files

SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
MOST_BYTES: Final = 128 << 20  # of a stored map
_FULL_DB: Final = 35.0  # a sensitivity that is drawn white
_DEEP_DB: Final = 20.0  # a loss that is drawn black


class Kind(StrEnum):
    """What there is to see."""

    CHART = "chart"
    MAP = "map"
    PICTURE = "picture"
    FIELD = "field"


_KINDS: Final = {THICKNESS_MAP: Kind.MAP, PARAMETRIC_MAP: Kind.MAP, SECONDARY_CAPTURE: Kind.PICTURE}


@dataclass(frozen=True, slots=True)
class Shown:
    """Something of a job's result to look at. `uid`: the object, None for a chart; `role`: within the job."""

    job: str
    kind: Kind
    role: str
    uid: str | None
    chart: Chart | None = None


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture as bytes, and their media type."""

    data: bytes
    mimetype: str


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One image, `uid` being its SOP Instance UID; `rows` and `columns` of all of it, 0 where it has none."""

    uid: str
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class SeriesImages:
    """Images of one series. `label`: what tells it from others of the study, in the words of its header."""

    uid: str
    modality: Modality
    label: str
    images: tuple[StoredImage, ...]


class UserSight(Sight, Files, Protocol):
    """What a user may see, and files as they may read them; adapters.sight.OrthancSight is one."""


class ObjectPictures:
    """Draws stored objects of a study. Threads may share it."""

    def __init__(self, archive: Archive, journal: Journal, sight: UserSight) -> None:
        self._archive = archive
        self._journal = journal
        self._sight = sight

    def listed(self, study_uid: str) -> Sequence[Shown]:
        """Charts, maps, captured pictures and visual fields of the results of a study, by result. Draws nothing.

        A capture of a chart is left out: the chart itself is there. Raises JournalError.
        """
        found: list[Shown] = []
        for result in self._journal.results(study_uid):
            charts = self._journal.charts(result.job)
            found += [Shown(result.job, Kind.CHART, chart.role, None, chart) for chart in charts]
            drawn = {chart.role for chart in charts}
            found += [
                Shown(result.job, _KINDS[item.sop_class], item.role, item.uid)
                for item in result.evidence
                if item.sop_class in _KINDS and item.role not in drawn
            ]
            record = self._journal.job(result.job)
            if record is not None and record.job.modality is Modality.OPV and len(record.job.sources) == 1:
                found.append(Shown(result.job, Kind.FIELD, "field", record.job.sources[0].uid))
        return found

    def images(self, study_uid: str, headers: Mapping[str, str]) -> Sequence[SeriesImages]:
        """The series of images that the router reads, as far as the user of these request headers may see them."""
        found: dict[str, list[Instance]] = {}
        for study, seen in self._studies(study_uid, headers):
            for instance in study.instances:
                if instance.modality is not None and instance.series_uid in seen:
                    found.setdefault(instance.series_uid, []).append(instance)
        return [_series(uid, instances) for uid, instances in found.items()]

    def picture(
        self,
        study_uid: str,
        uid: str,
        headers: Mapping[str, str],
        *,
        frame: int = 1,
        box: Box | None = None,
        side: int = 1024,
    ) -> Drawn | None:
        """An object as a picture, None where the user of these request headers may see no such thing.

        A map and a visual field are drawn. Of an image it is the `frame`, or the `box` of it, its longer side at most
        `side` pixels; what lies outside of the image is black, or white as glass. Raises RequestError for an object
        that is not drawn, or an image without such a frame; PixelDataError, ArchiveUnavailable.
        """
        found = self._seen(study_uid, uid, headers)
        if found is None:
            return None
        study, instance = found
        kind = _KINDS.get(instance.sop_class)
        if kind is Kind.MAP:
            return self._map(instance, headers)
        if instance.modality is Modality.OPV:
            return self._field(instance)
        if instance.modality is Modality.SM:
            return _jpeg(cut_of_slide(self._slide(study, instance), instance.uid, _needed(box), side))
        if kind is Kind.PICTURE or instance.modality in (Modality.OP, Modality.OPT):
            return self._image(instance, frame, box, side)
        raise RequestError(f"object {uid} is of a class that is not drawn")

    # -- inside -------------------------------------------------------------------------------------------------------

    def _studies(self, study_uid: str, headers: Mapping[str, str]) -> Iterator[tuple[Study, frozenset[str]]]:
        """The study, with the series that the user may see; two patients may have one of the same UID."""
        for stamp in self._archive.studies(study_uid):
            try:
                seen = self._sight.study(stamp.id, headers)
                if seen is not None:
                    yield self._archive.study(stamp.id), seen.series_uids
            except NotInArchive:
                continue

    def _seen(self, study_uid: str, uid: str, headers: Mapping[str, str]) -> tuple[Study, Instance] | None:
        for study, seen in self._studies(study_uid, headers):
            for instance in study.instances:
                if instance.uid == uid and instance.series_uid in seen:
                    return study, instance
        return None

    def _map(self, instance: Instance, headers: Mapping[str, str]) -> Drawn | None:
        data = self._sight.file(instance.id, headers, MOST_BYTES)
        if data is None:
            return None
        if isinstance(data, int):
            raise RequestError(f"object {instance.uid} has {data} bytes, more than {MOST_BYTES} are not drawn")
        try:
            ds = dcmread(BytesIO(data))
        except (InvalidDicomError, EOFError, ValueError) as error:
            raise PixelDataError(f"instance {instance.id} cannot be parsed: {type(error).__name__}") from error
        return Drawn(plane_png(stored_plane(ds)), "image/png")

    def _field(self, instance: Instance) -> Drawn:
        opened = open_images(Modality.OPV, [(instance, self._archive.header(instance.id))], self._archive.frames)
        if not isinstance(opened, VisualField):
            reason = opened.reason if isinstance(opened, Ungradable) else "it is no visual field"
            raise RequestError(f"the visual field is not drawn: {reason.removeprefix('not analysed because ')}")
        return Drawn(field_png(_plot(opened)), "image/png")

    def _slide(self, study: Study, instance: Instance) -> Slide:
        levels = [i for i in study.instances if i.series_uid == instance.series_uid and i.modality is Modality.SM]
        headers = [(level, self._archive.header(level.id)) for level in levels]
        opened = open_images(Modality.SM, headers, self._archive.frames)
        if not isinstance(opened, Slide):
            reason = opened.reason if isinstance(opened, Ungradable) else "it is no slide"
            raise RequestError(f"the slide is not drawn: {reason.removeprefix('not analysed because ')}")
        return opened

    def _image(self, instance: Instance, frame: int, box: Box | None, side: int) -> Drawn:
        header = self._archive.header(instance.id)
        frames = max(1, integer(header.get("NumberOfFrames"), 1))
        if not 1 <= frame <= frames:
            raise RequestError(f"the image has no frame {frame}: it has {frames}")
        (encoded_frame,) = self._archive.frames(instance.id, [frame])
        pixels = decode(encoded_frame, FrameFormat.of(header))
        if instance.sop_class == SECONDARY_CAPTURE:  # lines and words: not for a lossy encoding
            return Drawn(encoded(cut(pixels, box, side), ".png"), "image/png")
        return _jpeg(cut(pixels, box, side))


def _series(uid: str, instances: Sequence[Instance]) -> SeriesImages:
    first = instances[0]
    container = first.first("ContainerIdentifier") if first.modality is Modality.SM else None
    words = (first.first("SeriesDescription"), container, first.first("ProtocolName"))
    label = " · ".join(dict.fromkeys(str(word).strip() for word in words if word))
    images = tuple(StoredImage(i.uid, *_extent(i)) for i in sorted(instances, key=lambda i: i.uid))
    return SeriesImages(uid, first.modality or Modality.SM, label, images)


def _extent(instance: Instance) -> tuple[int, int]:
    whole = [integer(instance.first(f"TotalPixelMatrix{side}")) for side in ("Rows", "Columns")]
    rows, columns = whole if all(whole) else [integer(instance.first(side)) for side in ("Rows", "Columns")]
    return rows, columns


def _needed(box: Box | None) -> Box:
    if box is None:
        raise RequestError("of a slide only a box is drawn: give box=left,top,right,bottom in pixels of the level")
    return box


def _jpeg(pixels: NDArray[np.uint8]) -> Drawn:
    return Drawn(encoded(pixels, ".jpg"), "image/jpeg")


def _plot(field: VisualField) -> FieldPlot:
    """Sensitivities, and deviations where the perimeter wrote them."""
    eye = {"R": "right eye", "L": "left eye"}.get(field.laterality or "", "eye not known")
    pattern = f", {field.pattern.meaning}" if field.pattern else ""
    panels = [FieldPanel("Sensitivity, dB", tuple(_sensitivity(p, field.floor or 0.0) for p in field.points))]
    for title, values in (
        ("Total deviation, dB", [(p, p.total) for p in field.points]),
        ("Pattern deviation, dB", [(p, p.pattern) for p in field.points]),
    ):
        known = tuple(FieldPoint(p.x, p.y, f"{v:.0f}", -v / _DEEP_DB) for p, v in values if v is not None)
        if known:
            panels.append(FieldPanel(title, known))
    indices = (("MD", field.md, " dB"), ("PSD", field.psd, " dB"), ("VFI", field.vfi, " %"))
    notes = "; ".join(f"{name} {index.value:.2f}{unit}" for name, index, unit in indices if index is not None)
    return FieldPlot(f"Visual field, {eye}{pattern}", tuple(panels), (notes,) if notes else ())


def _sensitivity(point: Location, floor: float) -> FieldPoint:
    if not point.seen or point.sensitivity is None:
        return FieldPoint(point.x, point.y, f"<{floor:.0f}" if not point.seen else "?", 1.0 if not point.seen else 0.0)
    return FieldPoint(point.x, point.y, f"{point.sensitivity:.0f}", 1.0 - point.sensitivity / _FULL_DB)
