"""A generated patient of an eye clinic: today's visit with photographs, tomographs and fields, and earlier visits."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from pydicom.dataset import Dataset

from phantoms.dicom import fundus_instance
from phantoms.dicom.field import Deviations, field_instance
from phantoms.dicom.parts import NOW, Uids
from phantoms.fundus_lesions import lesions
from phantoms.oct import Blob, Noise
from phantoms.oct_case import circle_case, volume_case
from phantoms.oct_disc import QUADRANTS, circle
from phantoms.oct_layers import Disease, Dome, macula
from phantoms.perimetry import BLIND_SPOT, GRID

PATIENT: Final = "DEMO-EYE"
_YEAR: Final = datetime.timedelta(days=365.25)
_NORMAL_DB: Final = 30.0
_LOSS: Final = np.array([1.0 if y > 0 else 0.25 for _, y in GRID])  # the upper half of the field is worse
_CLEAN: Final = Noise(looks=12.0, signal_db=2.0, motion_um=4.0, vessels=3)


def earlier_visits(size: int = 512, visits: int = 5) -> dict[str, list[Dataset]]:
    """What the archive holds of the right eye: a field and a circle scan a year, and a photograph and macula of last
    year. Each is a study of its own, oldest first."""
    made: dict[str, list[Dataset]] = {}
    for n in range(visits, 0, -1):
        when = NOW - n * _YEAR
        made[f"field {n} years ago"] = [field("R", when, 2.0 + 1.0 * (visits - n))]
        made[f"circle scan {n} years ago"] = nerve("R", when, 98.0 - 3.0 * (visits - n))
    made["photograph a year ago"] = [photograph("R", NOW - _YEAR, size, grade=2)]
    made["macula a year ago"] = [scan("R", NOW - _YEAR, irf_um=60.0)]
    return made


def visit(size: int = 512) -> dict[str, list[Dataset]]:
    """Today: camera, tomograph and perimeter write a study each; of the left eye there is a photograph."""
    camera = Uids("eye case camera")()
    tomograph = Uids("eye case tomograph")()
    return {
        "photographs": [
            photograph("R", NOW, size, grade=3, exudates=True, study=camera, number=1),
            photograph("L", NOW, size, grade=1, study=camera, number=2),
        ],
        "macula": [scan("R", NOW + datetime.timedelta(minutes=10), irf_um=180.0, study=tomograph)],
        "circle scan": nerve("R", NOW + datetime.timedelta(minutes=12), 82.0, study=tomograph),
        "visual field": [field("R", NOW + datetime.timedelta(minutes=30), 7.0)],
    }


def photograph(
    eye: str,
    when: datetime.datetime,
    size: int,
    *,
    grade: int,
    exudates: bool = False,
    study: str = "",
    number: int = 1,
) -> Dataset:
    """A fundus photograph of a grade of diabetic retinopathy; the same eye is the same picture with other lesions."""
    drawn = lesions(size, eye, 41, grade, macular_exudates=exudates)  # type: ignore[arg-type]
    return fundus_instance(drawn.rgb, laterality=eye, **_common(when, study, f"photograph {eye} {when}"), number=number)


def scan(eye: str, when: datetime.datetime, *, irf_um: float, study: str = "") -> Dataset:
    """A volume of the macula with a cyst of this height beside the fovea, and a druse."""
    disease = Disease(fluid=(Blob("ONL", 0.2, 0.1, 0.45, 0.45, irf_um),), drusen=(Dome(1.2, -0.6, 0.25, 60.0),))
    made = macula(49, 320, 256, 4.5, 25.0, 125.0, eye, 17, disease, noise=_CLEAN)  # type: ignore[arg-type]
    return volume_case(made, **_common(when, study, f"macula {eye} {when}"))


def nerve(eye: str, when: datetime.datetime, average_um: float, *, study: str = "") -> list[Dataset]:
    """A circle scan of the nerve fibre layer, with the photograph that shows its place."""
    share = average_um / float(np.mean(list(QUADRANTS.values())))
    quadrants = {name: share * um for name, um in QUADRANTS.items()}
    drawn = circle(320, 512, 4.5, laterality=eye, seed=23, quadrants=quadrants, noise=_CLEAN)  # type: ignore[arg-type]
    return list(circle_case(drawn, **_common(when, study, f"circle {eye} {when}")))


def field(eye: str, when: datetime.datetime, loss_db: float, *, study: str = "") -> Dataset:
    """A 24-2 field with the upper half depressed by about `loss_db`, deviations and indices included."""
    side = 1.0 if eye == "R" else -1.0
    rng = np.random.default_rng([31, when.year])
    kept = [n for n in range(len(GRID)) if n not in BLIND_SPOT]
    total = -loss_db * _LOSS[kept] + rng.normal(0.0, 0.4, len(kept))
    total = np.round(total, 1)
    places = [(side * GRID[n][0], GRID[n][1]) for n in kept]
    points = [(x, y, round(_NORMAL_DB + float(d), 1)) for (x, y), d in zip(places, total, strict=True)]
    deviations = [_deviations(float(d)) for d in total]
    mean = float(total.mean())
    return field_instance(
        points,
        laterality=eye,
        when=when,
        deviations=deviations,
        md=(round(mean, 2), _percent(mean)),
        psd=(round(float(total.std()), 2), _percent(-float(total.std()))),
        vfi=(round(100.0 + 2.6 * mean, 1), None),
        **{key: value for key, value in _common(when, study, f"field {eye} {when}").items() if key != "taken"},
    )


def _deviations(db: float) -> Deviations:
    return (db, _percent(db), db + 1.0, _percent(db + 1.0))


def _percent(db: float) -> float:
    """A made-up probability: the deeper, the rarer."""
    return next((p for limit, p in ((-8.0, 0.5), (-6.0, 1.0), (-4.0, 2.0), (-2.0, 5.0)) if db <= limit), 95.0)


def _common(when: datetime.datetime, study: str, seed: str) -> Mapping[str, Any]:
    said = {"patient_id": PATIENT, "patient_name": "Phantom^Eye", "taken": when, "seed": seed}
    return said | {"study_uid": study or Uids(f"study {seed}")()}


def all_of(cases: Mapping[str, Sequence[Dataset]]) -> list[Dataset]:
    """Every instance, in order."""
    return [instance for instances in cases.values() for instance in instances]
