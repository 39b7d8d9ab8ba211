"""8-bit weights for a model folder: made with some of the given images, and measured on others before they are kept."""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from airouter.domain.model import Fit
from airouter.errors import NotQuantizable
from airouter.inference import manifest, quantise, selftest, variant, weights
from airouter.inference.fidelity import Fidelity
from airouter.inference.session import Session
from airouter.inference.variant import FEWEST, Method, Variant
from airouter.inference.whole import fitted, whole_many
from airouter.services.pictures import Image, Picture, Source, Track, pictures_for


@dataclass(frozen=True, slots=True)
class Plan:
    """How many images to calibrate with and how many to check with at most, how, and which."""

    calibrate: int = 128
    check: int = 128
    method: Method = "minmax"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was measured. `written` says whether the agreement reached the tolerance.

    `seconds`: median time of one image on one thread, float32 and 8-bit, of this very run; `bytes`: size of the
    weights likewise. `shows`: in how many images of the check each class was found.
    """

    name: str
    metric: str
    agreement: float
    tolerance: float
    images: int
    sets: int
    calibrated: int
    checked: int
    left_out: dict[str, int]
    shows: dict[str, int]
    seconds: tuple[float, float]
    bytes: tuple[int, int]

    @property
    def written(self) -> bool:
        return self.agreement >= self.tolerance


def _untracked(items: Iterable[Picture], total: int, label: str) -> Iterable[Picture]:
    return items


def make(folder: Path, source: Source, plan: Plan = Plan(), track: Track = _untracked) -> Outcome:
    """Make 8-bit weights of a model folder, measure their agreement, and write them if it reaches the tolerance.

    Below it nothing is written, and an earlier variant stays. Raises ManifestError where the manifest is wrong or
    states no tolerance, ModelRefused for weights that would not be loaded, NotQuantizable where the model or the
    images do not allow it, PixelDataError and NotInArchive where an image cannot be read.
    """
    keys = manifest.read(folder)
    least = variant.tolerance(keys)
    model = manifest.model_of(keys)
    data = weights.load(folder / keys.weights.file, keys.weights.sha256)
    quantise.require(data)
    original = Session(model, data)
    selftest.check(original, folder)
    variant.of(model, data.sha256)

    found = pictures_for(model, source)
    calibration, checking = _split(found.pictures, plan, found.left_out)
    seen = _Digest()

    def tensors() -> Iterator[NDArray[np.float32]]:
        for image in _read(track(calibration, len(calibration), "calibrate"), seen):
            yield original.tensor(image if model.input.fit is Fit.TILE else fitted(image, model.input))

    stream = tensors()
    made = quantise.quantised(data, model.input.name, stream, len(calibration), plan.method)
    next(stream, None)  # past the last: only then its progress is at the end
    checked = weights.inspect(made, variant.WEIGHTS)
    reduced = Session(variant.of(model, checked.sha256), checked)
    recorded = selftest.record(original, reduced, folder)
    fidelity, compared = Fidelity(model.head), _Digest()
    seconds = _compare(original, reduced, _read(track(checking, len(checking), "check"), compared), fidelity)

    outcome = Outcome(
        name=model.name,
        metric=fidelity.metric,
        agreement=fidelity.agreement(),
        tolerance=least,
        images=len(found.pictures),
        sets=found.sets,
        calibrated=seen.count,
        checked=compared.count,
        left_out=found.left_out,
        shows=fidelity.shows,
        seconds=seconds,
        bytes=(len(data.data), len(made)),
    )
    if outcome.written:
        said = variant.VariantKeys.model_validate(
            {
                "schema": 1,
                "sha256": checked.sha256,
                "selftest_sha256": hashlib.sha256(recorded).hexdigest(),
                "made_from": data.sha256,
                "contract": variant.contract(keys),
                "metric": outcome.metric,
                "agreement": outcome.agreement,
                "calibration": {"images": seen.count, "sha256": seen.hexdigest, "method": plan.method},
                "check": {"images": compared.count, "sha256": compared.hexdigest, "shows": outcome.shows},
                "onnxruntime": quantise.VERSION,
            }
        )
        variant.write(folder, Variant(said, made, recorded))
    return outcome


def _split(pictures: Sequence[Picture], plan: Plan, left_out: dict[str, int]) -> tuple[list[Picture], list[Picture]]:
    """Different pictures for either side, drawn at random and read in the order they lie in.

    Where there are fewer than asked for, both sides shrink alike.
    """
    if min(plan.calibrate, plan.check) < FEWEST or len(pictures) < 2 * FEWEST:
        reasons = "".join(f"; {count} left out: {reason}" for reason, count in left_out.items())
        raise NotQuantizable(
            f"{FEWEST} images to calibrate and {FEWEST} others to check are the least, {len(pictures)} were found"
            + reasons
        )
    share = min(1.0, len(pictures) / (plan.calibrate + plan.check))
    first = min(max(FEWEST, int(plan.calibrate * share)), len(pictures) - FEWEST)
    second = min(plan.check, len(pictures) - first)
    order = np.random.default_rng(plan.seed).permutation(len(pictures))
    sides = order[:first], order[first : first + second]
    calibration, check = ([pictures[i] for i in sorted(side.tolist())] for side in sides)
    return calibration, check


class _Digest:
    """SHA-256 over pixels, and how many images they are of."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self.count = 0

    def add(self, image: Image) -> None:
        self.count += 1
        self._sha.update(repr(image.shape).encode())
        self._sha.update(np.ascontiguousarray(image).data)

    @property
    def hexdigest(self) -> str:
        return self._sha.hexdigest()


def _read(pictures: Iterable[Picture], digest: _Digest) -> Iterator[Image]:
    for picture in pictures:
        image = picture()
        digest.add(image)
        yield image


def _compare(original: Session, reduced: Session, images: Iterator[Image], fidelity: Fidelity) -> tuple[float, float]:
    """Feed `fidelity`; the median seconds of one image for both, which take turns at going first."""
    times: list[tuple[float, float]] = []
    size = original.model.input.batch
    group: list[Image] = []
    while True:
        group = [image for _, image in zip(range(size), images, strict=False)]
        if not group:
            break
        both = [original, reduced]
        spent, answers = [0.0, 0.0], [list[NDArray[np.float32]](), list[NDArray[np.float32]]()]
        for which in (0, 1) if len(times) % 2 == 0 else (1, 0):
            start = time.perf_counter()
            answers[which] = _answers(both[which], group)
            spent[which] = (time.perf_counter() - start) / len(group)
        times.append((spent[0], spent[1]))
        for first, second in zip(*answers, strict=True):
            fidelity.add(first, second)
    warm = times[1:] or times  # the first run allocates
    return float(np.median([a for a, _ in warm])), float(np.median([b for _, b in warm]))


def _answers(predictor: Session, images: list[Image]) -> list[NDArray[np.float32]]:
    """What the pipelines get: of whole images on the images' own grid."""
    if predictor.model.input.fit is Fit.TILE:
        return list(predictor.predict(images))
    return list(whole_many(predictor, images))
