"""Nuclei from the two probability maps of a segmentation model, and how brown each of them is.

Pure array functions: no model runs here and nothing is read from a file.
"""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from skimage.segmentation import watershed

# Optical density (red, green, blue) of haematoxylin and of DAB, each of unit length.
# Ruifrok AC, Johnston DA. Quantification of histochemical staining by color deconvolution.
# Anal Quant Cytol Histol 2001;23:291-299.
HAEMATOXYLIN_OD: Final = (0.650, 0.704, 0.286)
DAB_OD: Final = (0.268, 0.570, 0.776)

# What is surely the inside of one nucleus: nucleus minus boundary, and the least area of such a region. Chosen on the
# training and validation tiles of the reference model: lower values merge touching nuclei, higher ones lose pale ones.
_CORE: Final = 0.6
_SEED_AREA_UM2: Final = 4.0


def instances(
    nucleus_prob: npt.NDArray[np.float32],
    boundary_prob: npt.NDArray[np.float32],
    *,
    spacing_um: float,
    threshold: float = 0.5,
    min_area_um2: float = 8.0,
) -> npt.NDArray[np.int32]:
    """Separate the nuclei of a probability map.

    A nucleus is seeded by a connected region of at least 4 um2 where nucleus minus boundary is at least 0.6, and
    grows from there over the mask ``nucleus_prob >= threshold`` by a watershed on the same difference (Meyer's
    flooding, 8-connected). A part of the mask without a seed is one nucleus. What is smaller than the least area
    is dropped.

    Args:
        nucleus_prob: rows x columns, probability 0..1 that a pixel is nucleus (its rim included).
        boundary_prob: rows x columns, probability 0..1 that a pixel is the rim of a nucleus.
        spacing_um: size of a pixel in micrometres.
        threshold: least probability of a nucleus pixel.
        min_area_um2: least area of a nucleus in square micrometres.

    Returns:
        rows x columns: 0 is background, 1..k are the nuclei, numbered without gaps in raster order of their
        first pixel.

    Raises:
        ValueError: the maps differ in shape or are not two-dimensional, the spacing is not positive, or a map
            holds NaN or infinity.
    """
    if nucleus_prob.ndim != 2 or nucleus_prob.shape != boundary_prob.shape:
        raise ValueError(f"two maps of one shape are needed, not {nucleus_prob.shape} and {boundary_prob.shape}")
    if not spacing_um > 0:
        raise ValueError(f"spacing must be positive, not {spacing_um} um")
    if not (np.isfinite(nucleus_prob).all() and np.isfinite(boundary_prob).all()):
        raise ValueError("a probability map holds NaN or infinity")
    if nucleus_prob.size == 0:
        return np.zeros(nucleus_prob.shape, np.int32)

    mask = nucleus_prob >= threshold
    core = nucleus_prob.astype(np.float32) - boundary_prob.astype(np.float32)
    pixel_um2 = spacing_um * spacing_um
    markers = components(mask & (core >= _CORE), least=_SEED_AREA_UM2 / pixel_um2, connectivity=4)
    seeds = int(markers.max())

    parts = components(mask, least=0.0, connectivity=8)
    seeded = np.zeros(int(parts.max()) + 1, bool)
    seeded[parts[markers > 0]] = True
    unseeded = mask & ~seeded[parts]
    markers[unseeded] = parts[unseeded] + seeds

    # 256 steps are enough to order the flood, and integers make ties, hence results, exact
    relief = np.round(np.clip(1.0 - core, 0.0, 2.0) * 128.0).astype(np.int32)
    labels = watershed(relief, markers, mask=mask, connectivity=2).astype(np.int32)
    return _renumber(labels, least=min_area_um2 / pixel_um2)


def dab_od(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Optical density of DAB in each pixel, by colour deconvolution (Ruifrok and Johnston 2001).

    The image is taken as haematoxylin, DAB and a residual at right angles to both; light is measured against
    white (255), in decadic optical density. A blue or white pixel gives about 0, and noise may give slightly
    less than 0.

    Args:
        rgb: rows x columns x 3, 8 bits per sample.

    Returns:
        rows x columns, in units of optical density along the DAB vector.

    Raises:
        ValueError: not an RGB image with 8 bits per sample.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"an RGB image of 8 bits per sample is needed, not {rgb.dtype} {rgb.shape}")
    red, green, blue = _dab_tables()
    od: npt.NDArray[np.float32] = red[rgb[..., 0]] + green[rgb[..., 1]] + blue[rgb[..., 2]]
    return od


def mean_per_label(values: npt.NDArray[np.float32], labels: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """Mean of the values under each label.

    Args:
        values: rows x columns.
        labels: rows x columns, 0..k.

    Returns:
        k + 1 means; position 0 is the background. NaN where a label has no pixel.

    Raises:
        ValueError: the two differ in shape, or a label is negative.
    """
    if values.shape != labels.shape:
        raise ValueError(f"values {values.shape} and labels {labels.shape} differ in shape")
    flat = labels.ravel()
    length = int(flat.max()) + 1 if flat.size else 1
    counts = np.bincount(flat, minlength=length)
    sums = np.bincount(flat, weights=values.ravel(), minlength=length)
    means = np.full(length, np.nan, np.float64)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means.astype(np.float32)


def components(mask: npt.NDArray[np.bool_], *, least: float, connectivity: int) -> npt.NDArray[np.int32]:
    """Number the connected parts of a mask 1..k, without those of fewer than `least` pixels."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), None, None, None, connectivity)
    keep = stats[:, cv2.CC_STAT_AREA] >= least
    keep[0] = False
    number = np.zeros(count, np.int32)
    number[keep] = np.arange(1, int(keep.sum()) + 1, dtype=np.int32)
    numbered: npt.NDArray[np.int32] = number[labels]
    return numbered


def _renumber(labels: npt.NDArray[np.int32], *, least: float) -> npt.NDArray[np.int32]:
    """Drop labels of fewer than `least` pixels and number the rest 1..k in raster order."""
    values, first, counts = np.unique(labels.ravel(), return_index=True, return_counts=True)
    keep = (values > 0) & (counts >= least)
    kept = values[keep][np.argsort(first[keep])]
    number = np.zeros(int(values[-1]) + 1, np.int32)
    number[kept] = np.arange(1, len(kept) + 1, dtype=np.int32)
    return number[labels]


def _dab_tables() -> list[npt.NDArray[np.float32]]:
    """For each colour channel, what each 8-bit value adds to the DAB density: deconvolution as three look-ups."""
    haematoxylin = np.asarray(HAEMATOXYLIN_OD) / np.linalg.norm(HAEMATOXYLIN_OD)
    dab = np.asarray(DAB_OD) / np.linalg.norm(DAB_OD)
    residual = np.cross(haematoxylin, dab)
    residual /= np.linalg.norm(residual)
    unmix = np.linalg.inv(np.stack([haematoxylin, dab, residual]))[:, 1]  # od (r, g, b) -> amount of DAB
    od = -np.log10(np.maximum(np.arange(256), 1) / 255.0)  # black is taken as 1/255: its density is finite
    return [(od * weight).astype(np.float32) for weight in unmix]
