"""The card of the model `cells`."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import common
from nuclei_tiles import Tile


def card_of(
    manifest: Mapping[str, Any],
    done: common.Progress,
    args: argparse.Namespace,
    parts: Mapping[str, Sequence[Tile]],
    patches: float,
) -> str:
    """card.md: what a reader must know before using the model."""
    return f"""# {manifest["title"]}

**{manifest["name"]} {manifest["version"]}**, {manifest["manufacturer"]}, {manifest["licence"]}.
{common.NOT_A_DEVICE} Intended use: demonstration.

Weights: `model.onnx`, SHA-256 `{manifest["weights"]["sha256"]}`.

## What it does

Reads RGB patches of 256 x 256 pixels at 0.5 um per pixel, values 0..1, and gives seven probability maps. `nucleus` and
`boundary` are those of the model [nuclei](../nuclei/card.md), separated in the same way. `tumour`, `lymphocyte`,
`stromal` and `normal` say of which kind of cell a nucleus is, and `mitosis` marks mitotic figures.

The net is the U-Net of `nuclei` with more maps; it began with that model's weights. On the machine that trained it
one CPU thread made {patches:.0f} patches per second beside other work.

## Intended use

Technical demonstration of the pipelines that need kinds of cells: mitotic count, TIL score, Nottingham suggestion,
membrane scoring. **Kinds and mitoses were learnt from generated pictures alone**: on a real slide they mean nothing,
whatever they look like. Nuclei as such were learnt from real tiles too.

## Training data

- Nuclei: {len(parts["training"])} H&E tiles of the 2018 Data Science Bowl, stage 1 (**CC0**), recoloured as for
  `nuclei`, with the same tiles kept out.
- Nuclei, kinds and mitoses: {done.images} generated fields in H&E, Ki-67, HER2 and PD-L1
  (`scripts/phantoms/histology.py`).

{done.steps} steps of {args.batch} in {done.runs} run{"s" if done.runs > 1 else ""} on two CPU cores. The loss was
still falling. Figures of an earlier run on the same held-out sets had been seen.

## Evidence

Measured on `model.onnx` with ONNX Runtime on the CPU. A nucleus is found when intersection over union with a true
one is above 0.5, one to one; a mitosis within 7 um of its centre. Held-out fields come from the same generator.

{common.evidence_table(manifest["evidence"])}

The Ki-67 panels are real (DeepLIIF data, used for this test only and not part of the project); their truth is that data
set's own segmentation.

## Limits

- **Mitoses on real tissue are wrong.** On 0.22 mm2 of tissue of a public H&E slide (CMU-1, skin) these weights
  marked 98 figures: dark and smudged nuclei, flakes of keratin. None is a mitosis as far as we can see.
- The figures for mitoses are of drawings; real look-alikes (pyknosis, apoptosis, pigment) were never
  shown. Macrophages, plasma cells, endothelium and all other cells have no kind of their own.
- What holds for [nuclei](../nuclei/card.md) holds here: crowded, blurred and folded nuclei are merged or missed.
- It was not examined across scanners, laboratories, organs or patient groups.
"""
