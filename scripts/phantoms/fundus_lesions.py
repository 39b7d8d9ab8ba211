"""Phantom fundus photographs with disease of known truth: diabetic retinopathy of a given grade, a glaucomatous cup,
a detached retina, blood in front of the retina.

Grades are those of the International Clinical Diabetic Retinopathy scale (Wilkinson et al., Ophthalmology 2003):
0 nothing, 1 microaneurysms alone, 2 more than these but less than 3, 3 more than 20 haemorrhages in each of four
quadrants, 4 new vessels. The other criteria of grade 3 (venous beading, intraretinal microvascular abnormalities) are
not drawn; neither is fibrosis nor a scar of laser. Quadrants are those of the picture about the fovea; the counts hold
about the disc too. Blood in front of the retina is grade 4 in a diabetic eye, and is drawn where it is asked for.

A left eye is the mirror image of the right eye of the same seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from phantoms import fundus_lesion_paint as paint
from phantoms.fundus import REASONS, Laterality, Point, Rgb, Scene, fundus

Mask = NDArray[np.bool_]

CLASSES = (
    "optic-disc", "optic-cup", "fovea", "microaneurysm", "haemorrhage", "hard-exudate", "soft-exudate",
    "neovascularisation", "retinal-detachment", "vitreous-haemorrhage",
)  # fmt: skip
FOVEA_RADIUS = 0.25  # of the class `fovea`, in disc diameters
MACULAR = 1.0  # an exudate within so many disc diameters of the fovea is macular (Wilkinson et al. 2003)
LEAST_SIZE = 256
_SEVERE = 20  # haemorrhages in each quadrant that grade 3 exceeds
_HIDDEN = 0.6  # what is hidden more than so much by blood in front of it is in no mask


@dataclass(frozen=True)
class Lesion:
    """One lesion: its class, its middle (x, y) in pixels and its radius (the longer one) in pixels."""

    kind: str
    at: Point
    radius: float


@dataclass(frozen=True)
class LesionPhantom:
    """A photograph and its truth.

    rgb: uint8 [size, size, 3]. field: bool [size, size], the camera's field. masks: bool [size, size] of every class of
    `CLASSES`, of what can be seen; they overlap. disc, macula: (x, y) in pixels. disc_diameter: of the circle with the
    area of the whole disc, in pixels. cup_ratio: cup to disc, vertical. lesions: each spot, in the order drawn, also
    those that blood hides. reasons: why the photograph cannot be graded; empty for a good one.
    """

    rgb: Rgb
    field: Mask
    masks: dict[str, Mask]
    disc: Point
    disc_diameter: float
    macula: Point
    laterality: Laterality
    grade: int
    cup_ratio: float
    lesions: tuple[Lesion, ...]
    reasons: frozenset[str] = field(default_factory=frozenset)


def lesions(
    size: int = 512,
    laterality: Laterality = "R",
    seed: int = 0,
    grade: int = 0,
    *,
    macular_exudates: bool = False,
    cup_ratio: float | None = None,
    detachment: bool = False,
    vitreous_haemorrhage: bool = False,
    quality: str | None = None,
    severity: float = 0.85,
) -> LesionPhantom:
    """Draw a photograph of an eye with these diseases.

    grade: 0 to 4, see above. From 2 on there may be exudates, hard ones never within `MACULAR` disc diameters of the
    fovea unless `macular_exudates`, which puts some there. cup_ratio: up to 0.95; None draws a healthy one.
    vitreous_haemorrhage: a cloud in the vitreous, at grade 4 also a pool before the retina. With a lower grade it has
    another cause, and `grade` is of the retina alone. quality, severity: as of `fundus`, without `field`.

    Raises ValueError for a size below `LEAST_SIZE`, a grade or ratio out of range, an unknown quality, macular exudates
    below grade 2, which they contradict, or a detachment at grade 3, whose lesions it would cover.
    """
    if size < LEAST_SIZE or grade not in range(5) or not (cup_ratio is None or 0.1 <= cup_ratio <= 0.95):
        raise ValueError(f"size {size}, grade {grade}, cup ratio {cup_ratio}: out of range")
    if macular_exudates and grade < 2:
        raise ValueError("exudates are more than microaneurysms alone: the grade is at least 2")
    if detachment and grade == 3:
        raise ValueError("a detachment leaves no room for the haemorrhages of grade 3")
    if quality is not None and (quality == "field" or quality not in REASONS):
        raise ValueError(f"quality {quality!r} is not drawn")
    rng = np.random.default_rng([19, seed])
    drawn = float(rng.uniform(0.25, 0.6))
    ratio = drawn if cup_ratio is None else cup_ratio
    away = float(rng.uniform(0.6, 0.8)) if grade == 3 else float(rng.uniform(0.0, 1.0))  # grade 3 needs room
    eye = _Eye(rng, grade, macular_exudates, detachment, vitreous_haemorrhage)
    photo = fundus(size, "R", seed, quality, severity, cup_ratio=ratio, away=away, paint=eye.paint)
    rgb, inside, places = photo.rgb, photo.mask, tuple(eye.lesions)
    masks = {name: mask & inside for name, mask in eye.masks.items()}
    disc, macula = photo.disc, photo.macula
    if laterality == "L":
        rgb, inside = rgb[:, ::-1].copy(), inside[:, ::-1].copy()
        masks = {name: mask[:, ::-1].copy() for name, mask in masks.items()}
        disc, macula = (size - disc[0], disc[1]), (size - macula[0], macula[1])
        places = tuple(Lesion(p.kind, (size - p.at[0], p.at[1]), p.radius) for p in places)
    diameter = eye.diameter
    return LesionPhantom(rgb, inside, masks, disc, diameter, macula, laterality, grade, ratio, places, photo.reasons)


class _Eye:
    """Paints one right eye. After `paint` the truth stands in `masks`, `lesions` and `diameter`."""

    def __init__(self, rng: np.random.Generator, grade: int, macular: bool, detachment: bool, blood: bool) -> None:
        self.rng, self.grade, self.macular, self.detachment, self.blood = rng, grade, macular, detachment, blood
        self.masks: dict[str, Mask] = {}
        self.lesions: list[Lesion] = []
        self.diameter = 0.0

    def paint(self, rgb: NDArray[np.float32], scene: Scene) -> NDArray[np.float32]:
        """Colours and scene of `fundus` -> colours with disease."""
        rng, rgb = self.rng, np.ascontiguousarray(rgb, np.float32)
        size = rgb.shape[0]
        y, x = (np.mgrid[:size, :size] + 0.5).astype(np.float32)
        self.scene, self.x, self.y, self.rgb = scene, x, y, rgb
        self.diameter = 2.0 * float(np.sqrt(scene.disc_mask.sum() / np.pi))
        self.from_fovea = np.hypot(x - scene.macula[0], y - scene.macula[1]) / self.diameter
        self.masks = {name: np.zeros((size, size), np.bool_) for name in CLASSES}
        self.masks["optic-disc"] = scene.disc_mask & scene.mask
        self.masks["optic-cup"] = scene.cup_mask & scene.mask
        self.masks["fovea"] = (self.from_fovea <= FOVEA_RADIUS) & scene.mask
        pale = cv2.GaussianBlur(scene.cup_mask.astype(np.float32), (0, 0), max(0.5, 0.02 * self.diameter))
        rgb += pale[..., None] * np.array([2.0, 16.0, 22.0], np.float32) * float(rng.uniform(0.4, 1.2))
        middle: Point = (float(x[scene.mask].mean()), float(y[scene.mask].mean()))
        radius = float(x[scene.mask].max() - x[scene.mask].min()) / 2.0
        k = max(3, round(0.25 * self.diameter) | 1)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (k, k))
        rim = cv2.distanceTransform(np.pad(scene.mask.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
        near_disc = cv2.dilate(scene.disc_mask.astype(np.uint8), kernel) > 0
        if self.detachment:
            off = paint.detached(rgb, rng, middle, radius, scene.vessels, near_disc) & scene.mask
            self._add("retinal-detachment", off)
            self.masks["fovea"] &= ~off
        self.free = (rim > 0.12 * self.diameter) & ~near_disc & ~self.masks["retinal-detachment"]
        self._retinopathy()
        if self.blood:
            pool = self.grade == 4 and bool(rng.random() < 0.4)
            before, hidden = paint.clouded(rgb, rng, middle, radius, preretinal=pool)
            self.masks = {name: mask & (hidden < _HIDDEN) for name, mask in self.masks.items()}
            self._add("vitreous-haemorrhage", before & scene.mask)
        return rgb

    def _add(self, kind: str, mask: Mask) -> None:
        """Add an area, and its middle to the list."""
        self.masks[kind] |= mask
        if mask.any():
            at = (float(self.x[mask].mean()), float(self.y[mask].mean()))
            self.lesions.append(Lesion(kind, at, float(np.sqrt(mask.sum() / np.pi))))

    def _retinopathy(self) -> None:
        rng, grade = self.rng, self.grade
        severe = grade == 3 or (grade == 4 and bool(rng.random() < 0.3))
        if grade == 3:  # first, while there is room
            for cell in self._corners():
                before = len(self.lesions)
                for _ in range(int(rng.integers(_SEVERE + 1, _SEVERE + 6))):
                    self._haemorrhage(cell, 0.085)
                if len(self.lesions) - before <= _SEVERE:
                    raise RuntimeError("a quadrant has no room for the haemorrhages of grade 3")
        if grade >= 2 and rng.random() < 0.4:
            for _ in range(int(rng.integers(1, 6))):
                self._spot("soft-exudate", self.free & (self.from_fovea > 0.8), (0.1, 0.2), stretched=1.6)
        if self.macular:
            self._exudates(self.free & (self.from_fovea > 0.3) & (self.from_fovea < MACULAR - 0.12), 1)
        if grade >= 2 and rng.random() < 0.5:
            self._exudates(self.free & (self.from_fovea > MACULAR + 0.3), int(rng.integers(1, 4)))
        if grade >= 2:
            # No quadrant of grade 2 gets more than half of what grade 3 needs.
            many = int(rng.integers(2, 13)) if not severe else int(rng.integers(6, 25))
            for _ in range(many):
                self._haemorrhage(self.free & (self.from_fovea > 0.3), 0.16)
        if grade == 4:
            self._new_vessels()
        if grade >= 1:
            least, most = ((1, 13), (2, 26), (8, 31), (2, 26))[grade - 1]
            for _ in range(int(rng.integers(least, most))):
                self._spot("microaneurysm", self.free & (self.from_fovea > 0.15), (0.018, 0.0375))

    def _corners(self) -> list[Mask]:
        """Nasal of the disc and temporal of the fovea, above and below: quadrants about the one and the other."""
        (fx, fy), (dx, dy) = self.scene.macula, self.scene.disc
        top, bottom = self.y < min(fy, dy) - 2.0, self.y > max(fy, dy) + 2.0
        return [self.free & side & half for side in (self.x < fx - 2.0, self.x > dx + 2.0) for half in (top, bottom)]

    def _place(self, where: Mask, radius: float) -> Point | None:
        """A place in `where` that is as far from every lesion as both radii and a little more; None if none is left."""
        free = where.astype(np.uint8)
        for lesion in self.lesions:
            if lesion.kind != "retinal-detachment":
                centre = (int(lesion.at[0]), int(lesion.at[1]))
                cv2.circle(free, centre, int(np.ceil(1.15 * (lesion.radius + radius) + 2.0)), 0, -1)
        left = np.flatnonzero(free)
        if not len(left):
            return None
        row, column = divmod(int(left[int(self.rng.integers(len(left)))]), free.shape[1])
        return column + 0.5, row + 0.5

    def _haemorrhage(self, where: Mask, most: float) -> None:
        """A dot, a blot, or a flame along the nerve fibres."""
        flame = self.rng.random() < 0.25
        self._spot("haemorrhage", where, (0.05, 0.07 if flame else most), stretched=2.4 if flame else 1.2)

    def _spot(self, kind: str, where: Mask, radii: tuple[float, float], stretched: float = 1.0) -> None:
        """One spot with a radius in this range (disc diameters) where there is room; smaller, or none, where not."""
        rng = self.rng
        least = 0.8 if kind == "microaneurysm" else 1.3
        drawn = float(rng.uniform(*radii))
        ratio = float(rng.uniform(1.0, stretched))
        for shrink in (1.0, 0.5, 0.0):
            across = max(least, self.diameter * (radii[0] + shrink * (drawn - radii[0])))
            along = across * (1.0 + shrink * (ratio - 1.0))
            at = self._place(where, along)
            if at is not None:
                break
        else:
            return
        from_disc = float(np.arctan2(at[1] - self.scene.disc[1], at[0] - self.scene.disc[0]))
        tilt = from_disc + (float(rng.normal(0.0, 0.25)) if kind == "haemorrhage" else float(rng.uniform(0.0, np.pi)))
        pixel = max(0.35, self.diameter / 240.0)
        how: dict[str, Any] = {
            "microaneurysm": {"look": paint.blood, "strength": rng.uniform(0.75, 1.0), "soft": pixel, "uneven": 0.0},
            "haemorrhage": {"look": paint.blood, "strength": rng.uniform(0.75, 1.0), "soft": 2 * pixel, "uneven": 0.1},
            "hard-exudate": {"look": paint.lipid, "strength": rng.uniform(0.75, 0.95), "soft": pixel, "uneven": 0.12},
            "soft-exudate": {
                "look": paint.swollen, "strength": rng.uniform(0.55, 0.8), "soft": 0.2 * across, "uneven": 0.1,
            },
        }[kind]  # fmt: skip
        paint.spot(self.rgb, self.masks[kind], rng, at, (along, across), tilt, **how)
        self.lesions.append(Lesion(kind, at, along))

    def _exudates(self, where: Mask, clusters: int) -> None:
        """Clusters of hard exudates."""
        for _ in range(clusters):
            rows, columns = np.nonzero(where)
            if not len(rows):
                return
            k = int(self.rng.integers(len(rows)))
            reach = self.diameter * float(self.rng.uniform(0.35, 0.7))
            near = where & (np.hypot(self.x - columns[k], self.y - rows[k]) < reach)
            for _ in range(int(self.rng.integers(3, 12))):
                self._spot("hard-exudate", near, (0.02, 0.07))

    def _new_vessels(self) -> None:
        """On the disc, elsewhere within reach of the arcades, or both."""
        rng, size = self.rng, self.rgb.shape[0]
        on_disc = rng.random() < 0.5
        if on_disc:
            extent = self.diameter * float(rng.uniform(0.45, 0.75))
            way = float(rng.uniform(0.0, 2.0 * np.pi))
            far = 0.25 * self.diameter
            at = (self.scene.disc[0] + far * float(np.cos(way)), self.scene.disc[1] + far * float(np.sin(way)))
            self._add("neovascularisation", paint.new_vessels(self.rgb, rng, at, extent) & self.scene.mask)
        for _ in range(int(rng.integers(0 if on_disc else 1, 3))):
            extent = self.diameter * float(rng.uniform(0.3, 0.6))
            at_or_none = self._place(self.free & (self.from_fovea > 1.2), extent)
            if at_or_none is not None:
                self._add("neovascularisation", paint.new_vessels(self.rgb, rng, at_or_none, extent) & self.scene.mask)
        if not self.masks["neovascularisation"].any():  # no room elsewhere
            at = (min(self.scene.disc[0], size - 1.0), self.scene.disc[1])
            tuft = paint.new_vessels(self.rgb, rng, at, 0.5 * self.diameter)
            self._add("neovascularisation", tuft & self.scene.mask)
