"""card.md of the model `slide-quality`: what a reader must know before using it."""

from __future__ import annotations

from typing import Any

import common
import numpy as np
from slide_quality_measure import BLURS, Figures
from slide_quality_tiles import BLURRED_UM, CLASSES, KINDS, SHARP_UM, TRAINED_FROM, UM


def card_of(manifest: dict[str, Any], figures: Figures, done: common.Progress) -> str:
    return f"""# {manifest["title"]}

**{manifest["name"]} {manifest["version"]}**, {manifest["manufacturer"]}, {manifest["licence"]}.
{common.NOT_A_DEVICE} Intended use: {manifest["intended_use"]}.

Weights: `model.onnx`, SHA-256 `{manifest["weights"]["sha256"]}`.

## What it does

Reads RGB patches at {UM:g} um per pixel, values 0..1, and gives each pixel the probability of one of {len(CLASSES)}
classes, which exclude each other: {", ".join(f"`{name}`" for name in CLASSES)}.

The spacing is that of focus. Tissue whose points are spread over a disc of {BLURRED_UM:g} um or more has lost what a
reader looks for in a nucleus, and a picture of 2 um per pixel, where that is little more than one pixel, hardly shows
it. An objective of numerical aperture 0.75 makes such a disc about 2 um beside its focal plane. The price is that an
artefact larger than a patch is seen in parts: deep inside a large bubble, or far beyond the edge of a cover slip, the
model can see no more than that it is out of focus.

The net is a U-Net with {sum(p.numel() for p in done.net.parameters()) / 1e6:.1f} million parameters that sums its skip
connections and works on a grid of 2 um. One CPU thread made {figures.patches_per_second:g} patches of 512 x 512 per
second.

## Training data

All artefacts are **simulated** (`scripts/phantoms/artefacts.py`; no slide with artefacts of an open licence was at
hand), on tissue that was taken for free of them:

- rows from {TRAINED_FROM} um on of one real H&E slide (CMU-1, a region of 1.1 x 1.5 mm of skin, **CC0**);
- H&E tiles of the 2018 Data Science Bowl, stage 1, training part (**CC0**); their magnification is not published, they
  count as 0.35 to 0.65 of their size at 1 um per pixel, mirrored to fill a patch;
- generated slides in H&E and H-DAB (`scripts/phantoms/slide.py`), the only H-DAB that was trained on.

Blur radii up to {SHARP_UM / 2:g} um are labelled sharp and from {BLURRED_UM:g} um on out of focus; nothing between was
shown. Understained is 0.18 to 0.42 of the optical density that the tissue had, overstained 2.3 to 3.4 of it.
{done.images} samples of 256 x 256 (192 x 192 of each at a time), {done.steps} steps of 8 in {done.runs} runs on two CPU
cores. The weights of the classes in the loss and the strengths of stripes and overstaining were changed between the
runs, after figures on the very sets below had been seen: they are not blind.

## Evidence

Measured on `model.onnx` with ONNX Runtime, each picture clean and with each artefact once. Dice, AUROC (of the class's
probability, pixels of the artefact against the others in the same pictures) and sensitivity are of pixels. "Called any
artefact" is the share of the artefact's pixels that are lost to the usable tissue, under whatever name.

{_by_set(figures)}
How much tissue is called out of focus, by the radius of the disc that a point becomes:

{_by_blur(figures)}
In full:

{common.evidence_table(manifest["evidence"])}

The artefacts are those of training with other numbers: on real ones expect less. The figure to look at first is how
much clean tissue is called an artefact: it is what a slide without any artefact loses. It is highest where
tissue is dark by nature (keratin, dense epidermis) or fibrous.

## Real artefacts

The slide at hand has few. Green ink along the cut edge of the tissue (tissue marking, which is no artefact) is mostly
taken for tissue in focus. Its overview picture shows a fold and the edge of the cover slip at some 50 um per pixel,
too coarse for this model. So no figure on real artefacts can be given.

## Limits

- Simulated artefacts, few slides, one organ in depth: a demonstration. A laboratory needs a model of its own slides.
- Staining is judged against the few slides seen; each laboratory has its own normal.
- Stripes are only seen where several lie within a patch: the strips of a line scanner are often 1 mm wide.
- No class for stitching, foreign material, scratches, or defects of the cover slip.
- Blur below {BLURRED_UM:g} um is called as in the table. Tissue without detail (mucus, blood, oedema) has none to lose.
- Not examined across scanners, laboratories, organs, stains or patient groups.

## Making it again

`python scripts/train/slide_quality.py` trains, measures and writes this folder (see `--help`).
"""


def _by_set(figures: Figures) -> str:
    parts = []
    for name, pixels in figures.sets.items():
        lines = [
            f"{name}: {len(pixels.clean)} pictures. **{100 * float(np.mean(pixels.clean)):.1f} %** of clean tissue is "
            "called an artefact.",
            "",
            "| artefact | Dice | AUROC | sensitivity, % | called any artefact, % |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {kind} | {pixels.dice(kind):.2f} | {_or_dash(pixels.auroc(kind))} | {pixels.sensitivity(kind):.0f} "
            f"| {pixels.spoilt(kind):.0f} |"
            for kind in KINDS
        ]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _by_blur(figures: Figures) -> str:
    lines = [
        "| data | " + " | ".join(f"{radius:g} um" for radius in BLURS) + " |",
        "|---|" + "---|" * len(BLURS),
    ]
    lines += [
        f"| {name} | " + " | ".join(f"{found[radius]:.0f} %" for radius in BLURS) + " |"
        for name, found in figures.found_blur.items()
    ]
    return "\n".join(lines) + "\n"


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
