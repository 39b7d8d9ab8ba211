"""Writing evidence: the mask of a whole slide as SEG, and a million nuclei as ANN, beside highdicom's plain call.

Each contender has a process of its own, which makes its input, lets highdicom load its tables, and is then measured
from the finished array to the Part 10 file on disk: seconds, and the most memory it held beyond the input. What we
write is checked as every object of a job is; the plain call is not.
"""

import argparse
import ctypes
import gc
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

_SCRIPTS: Final = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(_SCRIPTS), str(_SCRIPTS.parent / "plugin")]

from benchmark.figure import Figure, Options  # noqa: E402
from benchmark.process import Child  # noqa: E402

SEG: Final = "SEG 16k x 16k"
ANN: Final = "ANN 1,000,000 polygons"
_TILE: Final = 512
_NOW: Final = datetime(2026, 1, 1)


def measure(options: Options) -> list[Figure]:
    """Both groups; medians of `repeats` rounds in which the contenders take turns."""
    sizes = {SEG: 2048, ANN: 20_000} if options.quick else {SEG: 16_384, ANN: 1_000_000}
    rounds = 1 if options.quick else max(1, options.repeats)
    figures: list[Figure] = []
    for group, size in sizes.items():
        runs: dict[str, list[Mapping[str, float]]] = {"ours": [], "plain": []}
        for _ in range(rounds):
            for contender, measured in runs.items():
                measured.append(_in_child(group, contender, size, options.work))
        figures += _figures(group, size, runs["ours"], runs["plain"])
    return figures


def _figures(group: str, size: int, ours: list[Mapping[str, float]], plain: list[Mapping[str, float]]) -> list[Figure]:
    what = f"{size} x {size} pixels, 3 classes" if group == SEG else f"{size} polygons of 16 points in the mean"
    what += f", {ours[0]['input_mb']:.1f} MB in, {ours[0]['file_mb']:.1f} MB written"

    def of(name: str, runs: list[Mapping[str, float]], key: str, unit: str, **more: Any) -> Figure:
        samples = tuple(run[key] for run in runs)
        return Figure(group, name, median(samples), unit, samples=samples, detail=what, **more)

    def ratio(name: str, key: str, **more: Any) -> Figure:
        samples = tuple(p[key] / o[key] for o, p in zip(ours, plain, strict=True))
        return Figure(group, name, median(samples), samples=samples, detail=what, **more)

    return [
        of("time, checks included", ours, "seconds", "s"),
        of("time, highdicom's plain call", plain, "seconds", "s"),
        ratio("times as fast as the plain call", "seconds", bound="least", target=1.0),
        of("memory beyond the input", ours, "beyond_mb", "MB"),
        of("memory beyond the input, plain call", plain, "beyond_mb", "MB"),
        of("memory beyond the input / input", ours, "share", "1"),
        of("memory beyond the input / input, plain call", plain, "share", "1"),
        # What is written has to be held once, and nothing of its size beside it.
        of("memory beyond input and file / input", ours, "overhead", "1", bound="most", target=0.25),
        ratio("memory of the plain call / ours", "beyond_mb", bound="least", target=1.0),
    ]


def _in_child(group: str, contender: str, size: int, work: Path) -> Mapping[str, float]:
    path = work / f"{contender}.dcm"
    with Child() as child:
        input_mb = child.call(_prepare, group, contender, size, path).value
        done = child.call(_write, contender, path)
    beyond, written = done.peak_mb - done.idle_mb, done.value
    path.unlink()
    return {
        "seconds": done.seconds,
        "beyond_mb": beyond,
        "input_mb": input_mb,
        "file_mb": written,
        "share": beyond / input_mb,
        "overhead": (beyond - written) / input_mb,
    }


# -- in the child -----------------------------------------------------------------------------------------------------

_cases: list["_Case"] = []


def _prepare(group: str, contender: str, size: int, path: Path) -> float:
    """Write a small input once, then make the one to be measured; its size in MB."""
    _cases[:] = [_Case(group, 64)]
    _write(contender, path)
    _cases[:] = [_Case(group, size)]
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what making the input has left free is no memory to write in
    return float(_cases[0].input_mb)


def _write(contender: str, path: Path) -> float:
    """The file's size in MB."""
    case = _cases[0]
    ways: dict[tuple[str, str], Callable[[_Case, Path], None]] = {
        (SEG, "ours"): _ours,
        (ANN, "ours"): _ours,
        (SEG, "plain"): _plain_seg,
        (ANN, "plain"): _plain_ann,
    }
    ways[case.group, contender](case, path)
    return path.stat().st_size / 1e6


class _Case:
    """A slide level, a job on it, and a mask of `size` x `size` or `size` polygons with two measurements each."""

    def __init__(self, group: str, size: int) -> None:
        import numpy as np

        from airouter.domain import codes
        from airouter.domain.finding import Result
        from airouter.domain.job import Source
        from airouter.domain.priority import Priority, Verdict
        from airouter.evidence.identity import Identity
        from airouter.evidence.source import header
        from phantoms import dicom
        from tests import samples

        self.group = group
        white = np.full((64, 64, 3), 230, np.uint8)
        (stored,) = dicom.slide_instances(white, 0.5, levels=1, tile=_TILE, seed="writing")
        self.level = header(stored)
        self.side = size if group == SEG else 65_536
        self.level.TotalPixelMatrixRows = self.level.TotalPixelMatrixColumns = self.side
        uid = str(self.level.SOPInstanceUID)
        self.model = samples.model()
        self.job = samples.job(
            key="writing",
            study_uid=str(self.level.StudyInstanceUID),
            series_uid=str(self.level.SeriesInstanceUID),
            sources=(Source(uid, uid, "0"),),
        )
        self.identity = Identity(self.job, self.model, Result((), Verdict(Priority.ROUTINE, "")), _NOW)
        self.codes = codes
        if group == SEG:
            self.mask = _blobs(size)
            self.input_mb = self.mask.nbytes / 1e6
        else:
            self.points, self.starts, self.values = _polygons(size, self.side)
            self.input_mb = (self.points.nbytes + self.starts.nbytes + sum(v.nbytes for v in self.values)) / 1e6

    def segmentation(self) -> Any:
        from airouter.domain.finding import Segment, Segmentation

        tissue = self.codes.TISSUE
        segments = tuple(Segment(n, f"Class {n}", tissue, tissue) for n in (1, 2, 3))
        return Segmentation("mask", "Mask", self.level.SOPInstanceUID, self.mask, segments)

    def annotations(self) -> Any:
        from airouter.domain.finding import AnnotationGroup

        codes = self.codes
        names = ((codes.AREA, codes.UM2), (codes.MEAN_DAB_OD, codes.ONE))
        return AnnotationGroup(
            "nuclei",
            "Nuclei",
            self.level.SOPInstanceUID,
            "POLYGON",
            codes.ANATOMICAL_STRUCTURE,
            codes.NUCLEUS,
            self.points,
            self.starts,
            dict(zip(names, self.values, strict=True)),
        )


def _blobs(side: int) -> Any:
    """Three classes in blobs of some hundred pixels on four tenths of background."""
    import cv2
    import numpy as np

    random = np.random.default_rng(1)
    coarse = cv2.GaussianBlur(random.random((max(side // 64, 2),) * 2, dtype=np.float32), (0, 0), 2.5)
    classes = np.digitize(coarse, np.quantile(coarse, (0.4, 0.6, 0.8))).astype(np.uint8)
    return cv2.resize(classes, (side, side), interpolation=cv2.INTER_NEAREST)


def _polygons(count: int, side: int) -> tuple[Any, Any, tuple[Any, Any]]:
    """12 to 20 points around each of so many places: points, starts and two values of each."""
    import numpy as np

    random = np.random.default_rng(1)
    sizes = random.integers(12, 21, count)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    angles = (np.arange(starts[-1]) - np.repeat(starts[:-1], sizes)) * np.repeat(2 * np.pi / sizes, sizes)
    points = np.repeat(random.random((count, 2)) * (side - 64) + 32, sizes, axis=0)
    points += 8 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    values = (random.random(count, dtype=np.float32), random.random(count, dtype=np.float32))
    return points.astype(np.float32), starts, values


def _ours(case: _Case, path: Path) -> None:
    """The objects of a job, checked, and the first of them written piece by piece, as it goes to the archive."""
    from airouter.domain.finding import Result
    from airouter.domain.priority import Priority, Verdict
    from airouter.evidence.encoding import encode
    from airouter.evidence.write import write

    masks = (case.segmentation(),) if case.group == SEG else ()
    groups = (case.annotations(),) if case.group == ANN else ()
    result = Result((), Verdict(Priority.ROUTINE, ""), masks, groups)
    written = write(case.job, case.model, result, {str(case.level.SOPInstanceUID): case.level}, now=_NOW)
    with path.open("wb") as file:
        file.writelines(encode(written[0].dataset))


def _plain_seg(case: _Case, path: Path) -> None:
    import highdicom as hd
    import numpy as np

    from airouter.evidence.segmented import arguments
    from airouter.evidence.source import slide_geometry

    geometry = slide_geometry(case.level)
    made = hd.seg.Segmentation(
        source_images=[case.level],
        pixel_array=case.mask[np.newaxis],
        pixel_measures=hd.PixelMeasuresSequence(geometry.spacing, slice_thickness=0.001),
        plane_orientation=hd.PlaneOrientationSequence("SLIDE", geometry.orientation),
        plane_positions=[hd.PlanePositionSequence("SLIDE", geometry.origin, (1, 1))],
        tile_pixel_array=True,
        tile_size=(_TILE, _TILE),
        **arguments(case.segmentation(), case.identity, 1),
    )
    made.save_as(path, enforce_file_format=True)


def _plain_ann(case: _Case, path: Path) -> None:
    import highdicom as hd
    import numpy as np

    from airouter.evidence.identity import code

    group, identity = case.annotations(), case.identity
    item = hd.ann.AnnotationGroup(
        number=1,
        uid=identity.job.uid("group"),
        label=group.label,
        annotated_property_category=code(group.category),
        annotated_property_type=code(group.type),
        graphic_type=group.graphic,
        graphic_data=np.split(group.points, group.starts[1:-1]),
        algorithm_type=hd.ann.AnnotationGroupGenerationTypeValues.AUTOMATIC,
        algorithm_identification=identity.algorithm(),
        measurements=[
            hd.ann.Measurements(code(name), values, code(unit)) for (name, unit), values in group.measurements.items()
        ],
    )
    made = hd.ann.MicroscopyBulkSimpleAnnotations(
        source_images=[case.level],
        annotation_coordinate_type=hd.ann.AnnotationCoordinateTypeValues.SCOORD,
        annotation_groups=[item],
        series_instance_uid=identity.job.uid("nuclei series"),
        sop_instance_uid=identity.job.uid("nuclei"),
        series_number=1,
        **identity.common(group.label),
    )
    made.save_as(path, enforce_file_format=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small inputs, to see that it runs")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        for f in measure(Options(Path(work), quick=arguments.quick, repeats=arguments.repeats)):
            reached = "" if f.reached is None else ("reached" if f.reached else "NOT reached")
            print(f"{f.group:24} {f.name:46} {f.value:10.3f} {f.unit:3} {reached}")
            if f.name.startswith("time, checks"):
                print(f"{'':24} ({f.detail})")


if __name__ == "__main__":
    main()
