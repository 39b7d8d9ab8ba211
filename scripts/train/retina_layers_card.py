"""The card of `retina-layers`: what its folder tells a reader about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import common

CARD = """# retina-layers {version}

Layers of the retina, kinds of fluid and drusen in OCT B-scans of macula and optic disc.

**{not_a_device}** Intended use: demonstration. Licence: AGPL-3.0-or-later.
SHA-256 of the weights: `{digest}`.

## What it answers
One B-scan in grey, stretched to {rows} rows x {cols} columns, gives ten class probabilities per pixel (softmax), from
inside out: vitreous; rnfl (internal limiting membrane to outer surface of the nerve fibre layer); gcl-ipl (to the
outer surface of the inner plexiform layer); outer-retina (to the inner surface of the pigment epithelium); rpe; drusen
(solid, between pigment epithelium and Bruch's membrane); ped (fluid there); choroid (all below Bruch's membrane); and
irf and srf, fluid within and below the neurosensory retina. Where the pigment epithelium is missing (geographic
atrophy) there is no rpe. Inside the optic disc the tissue of the rim is rnfl and all below it choroid.
Brightness is standardised inside the graph.

## Training data
{images} phantom B-scans (generated, seeds 0 to {last}; licence of this repository): seven of ten of the macula
(`scripts/phantoms/oct_layers.py`), the others circle scans and B-scans near the optic disc
(`scripts/phantoms/oct_disc.py`), with random mirror, zoom, shift, brightness and noise. No real B-scan was used for
training or for a choice of parameters. Script: `scripts/train/retina_layers.py`, seed {seed}, runs: {runs} (each later
one with `--start` and new phantoms), in all about {steps} steps of {batch} B-scans, in bfloat16 on a CPU.

The first run never answered drusen or cysts (Dice 0 on the held-out phantoms) and saw a fifth of the atrophy: the loss
then weighed them more, and the generator drew more of them. After the second run both were answered three times too
often: a third one weighed them less, and the shipped graph divides by a power of the weights that was chosen on other
phantoms. So the figures of drusen, irf and atrophy are not entirely blind.

## How it was measured
From the exported ONNX file, on phantoms of other seeds, with the exact truth of the generator. {held} B-scans are drawn
like the training data, over all devices and noise; the volumes, the circle scans and the eyes with atrophy are imaged
as a recent device does (8 averaged frames). A class is where it is the most probable one. Surfaces are read with
`airouter.imaging.layers.surfaces` and compared on the columns that it trusts. The real B-scans were looked at after
each run, and nothing was chosen by them.

{table}

## Hand reading: a real B-scan
Topcon 3DOCT-1000MK2, 650 rows x 512 columns, 3.5 um per row; rows from the top edge, read by eye before any answer of a
model was seen (see the card of `oct-layers`); good to about 2 rows (inner) and 3 (outer).

{hand}

## Limits
- Synthetic training only. Two real B-scans, one with a hand reading and one with another network's result, validate
  nothing; neither has fluid, drusen or atrophy, so on those the model was never tried on a real eye.
- The phantoms are simpler than eyes: fluid is dark and drusen are even. Hyperreflective material, fibrovascular
  detachments, reticular pseudodrusen, exudates, macular holes, epiretinal membranes, traction, peripapillary atrophy
  and high myopia are not drawn.
- It sees small spots of fluid and drusen where there are none: see the shares of B-scans without them in the table.
  Fluid and drusen volumes are too uncertain to follow an eye by.
- A row of the model is rows/{rows} rows of the B-scan, a column columns/{cols}: small cysts, flat drusen and the edges
  of atrophy are lost first. Read the Dice figures of the small classes before trusting a volume.
- A B-scan must be upright (vitreous above). Scans deeper than 2.7 mm were not drawn.
"""


def text(
    *,
    version: str,
    digest: str,
    rows: int,
    cols: int,
    images: int,
    seed: int,
    steps: int,
    runs: int,
    batch: int,
    held: int,
    evidence: Sequence[Mapping[str, Any]],
    hand: str,
) -> str:
    """card.md."""
    return CARD.format(
        version=version, digest=digest, not_a_device=common.NOT_A_DEVICE, rows=rows, cols=cols, images=images,
        last=images - 1, seed=seed, steps=steps, runs=runs, batch=batch, held=held,
        table=common.evidence_table(evidence), hand=hand,
    )  # fmt: skip
