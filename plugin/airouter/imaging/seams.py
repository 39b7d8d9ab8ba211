"""Objects that two neighbouring patches both see are one object."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree


def unique(
    centres: NDArray[np.float64], depth: NDArray[np.float64], patch: NDArray[np.int64], radius: float
) -> NDArray[np.bool_]:
    """Which of the candidates of all patches to keep, so that every object is kept once.

    A patch offers the objects whose centre lies in its core or at most `radius` outside it. A model sees other
    surroundings in each patch and may place the same object a little differently, on either side of the border;
    by its core alone it would then be counted twice or not at all. Two candidates of different patches within `radius`
    of each other are the same object, and the one deeper in its own core stays.

    Args:
        centres: [n, 2], in the pixels of one level.
        depth: [n], distance to the nearest edge of the own core in the same unit, negative outside.
        patch: [n], number of the patch the candidate comes from; the lower wins where the depth is equal.
        radius: distance below which two centres are one object; less than objects can be apart.

    Returns:
        bool [n]. The result does not depend on the order of the candidates but for the order itself.
    """
    keep = np.ones(len(centres), bool)
    near = np.flatnonzero(depth <= 2.0 * radius)  # what lies deeper has no rival within the radius
    if len(near) < 2:
        return keep
    tree = cKDTree(centres[near])
    pairs = near[tree.query_pairs(radius, output_type="ndarray")]
    pairs = pairs[patch[pairs[:, 0]] != patch[pairs[:, 1]]]
    rivals: dict[int, list[int]] = {}
    for a, b in pairs.tolist():
        rivals.setdefault(a, []).append(b)
        rivals.setdefault(b, []).append(a)
    for candidate in sorted(rivals, key=lambda i: (-depth[i], patch[i], centres[i, 1], centres[i, 0])):
        if keep[candidate]:
            keep[rivals[candidate]] = False
            keep[candidate] = True
    return keep
