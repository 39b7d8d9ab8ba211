"""Quality at acquisition: how much processor time POST /ai/quality takes for one image, transfer left out."""

import io
import time
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from PIL import Image
from pydicom import dcmwrite

from airouter.inference.repository import ModelRepository
from airouter.services.quality import Quality, QualityCheck
from benchmark.figure import Figure, Options
from phantoms import oct
from phantoms.dicom import fundus_instance, oct_instance
from phantoms.fundus import fundus

GROUP: Final = "quality at acquisition"
_MODELS: Final = Path(__file__).resolve().parents[2] / "models"
_NAMES: Final = ("fundus-quality", "fundus-lesions")  # gradable or not; where disc and fovea are


class _Nothing:
    """An archive without files: everything is sent."""

    def file(self, instance: str, headers: object, most: int) -> None:
        return None


def measure(options: Options) -> list[Figure]:
    """The median of `repeats` answers each, in milliseconds of the one thread that gives them."""
    models = ModelRepository(_MODELS, configured=(options.provider,))
    names = [name for name in _NAMES if name in models.names()]
    service = QualityCheck({name: models.get(name).model for name in names}, models.get, _Nothing())
    side, frames = (700, 8) if options.quick else (3000, 128)
    photograph = np.asarray(Image.fromarray(fundus(700, seed=4).rgb).resize((side, side)))
    volume = np.repeat(oct.volume(8, 496, 512, seed=4).frames, frames // 8, axis=0)
    inputs = {
        f"photograph of {side} x {side} as JPEG": (_picture(photograph, "JPEG"), service.picture),
        f"photograph of {side} x {side} as PNG": (_picture(photograph, "PNG"), service.picture),
        f"photograph of {side} x {side} as DICOM, JPEG": (_part10(fundus_instance(photograph)), service.dicom),
        f"tomography of {frames} B-scans, not compressed": (_part10(oct_instance(volume)), service.dicom),
        f"tomography of {frames} B-scans, JPEG 2000": (
            _part10(oct_instance(volume, transfer="jpeg2000")), service.dicom
        ),
    }  # fmt: skip
    figures = []
    for name, (data, ask) in inputs.items():
        spent = []
        for _ in range(1 + max(3, options.repeats)):
            began = time.thread_time()
            if not isinstance(ask(data), Quality):
                raise TypeError(f"no answer on a {name}")
            spent.append(1000.0 * (time.thread_time() - began))
        samples = tuple(spent[1:])  # the first one loads
        detail = f"{len(data) / 1e6:.1f} MB, one thread"
        figures.append(Figure(GROUP, name, median(samples), "ms", "most", 1000.0, samples, detail))
    return figures


def _picture(rgb: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, kind)
    return file.getvalue()


def _part10(ds: object) -> bytes:
    file = io.BytesIO()
    dcmwrite(file, ds, enforce_file_format=True)  # type: ignore[arg-type]
    return file.getvalue()
