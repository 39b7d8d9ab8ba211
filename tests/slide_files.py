"""Slides in scanners' own formats for tests: a tiled pyramidal TIFF made here, and sidecars."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from phantoms.slide import slide

SPACING_UM = 0.5
PATIENT = "Canary^Import"  # a name that must be in the header and nowhere else


def picture(rows: int = 768, columns: int = 1024, seed: int = 1) -> NDArray[np.uint8]:
    """H-DAB tissue at SPACING_UM, uint8 [rows, columns, 3]."""
    return np.ascontiguousarray(slide(rows, columns, SPACING_UM, "H-DAB", seed=seed).rgb)


def tiled_tiff(
    path: Path, image: NDArray[np.uint8], *, spacing_um: float | None = SPACING_UM, levels: int = 2, tile: int = 256
) -> Path:
    """Write what OpenSlide calls a generic tiled TIFF: lossless tiles, each level half the size of the one before."""
    with tifffile.TiffWriter(path) as writer:
        for level in range(levels):
            said: dict[str, Any] = {}
            if spacing_um is not None:
                per_cm = 1e4 / (spacing_um * 2**level)
                said = {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
            writer.write(
                image, tile=(tile, tile), photometric="rgb", compression="zlib", subfiletype=int(level > 0), **said
            )
            image = np.asarray(
                cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA), np.uint8
            )
    return path


def description(**changes: Any) -> dict[str, Any]:
    """A sidecar's document; `changes` name a section and replace keys of it."""
    document: dict[str, Any] = {
        "patient": {"id": "IMPORT-1", "name": PATIENT, "birth_date": "1960-05-17", "sex": "F"},
        "study": {"accession_number": "A26-17", "date": "2026-03-04", "time": "10:11:12"},
        "specimen": {"container": "S26-17-A1-2", "stain": "H-DAB"},
    }
    for section, value in changes.items():
        if isinstance(value, dict):
            document[section] = {**document.get(section, {}), **value}
        else:
            document[section] = value
    return document


def sidecar(slide: Path, **changes: Any) -> Path:
    """Write `<file name>.json` beside a slide."""
    path = slide.with_name(slide.name + ".json")
    path.write_text(json.dumps(description(**changes)))
    return path
