"""The card of `fundus-lesions`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import common


def card_of(
    manifest: Mapping[str, Any], done: common.Progress, args: argparse.Namespace, photographs: str, speed: float
) -> str:
    """card.md. photographs: what the model marks on the real ones, a table. speed: pictures per CPU second."""
    return f"""# {manifest["title"]}

**{manifest["name"]} {manifest["version"]}**, {manifest["manufacturer"]}, {manifest["licence"]}.
{common.NOT_A_DEVICE} Intended use: {manifest["intended_use"]}.

Weights: `model.onnx`, SHA-256 `{manifest["weights"]["sha256"]}`.

## What it does

Reads one colour photograph, scaled whole into 512 x 512 with black borders, values 0..1, and gives ten probability
maps, which may overlap: `optic-disc` (with its cup), `optic-cup`, `fovea` (a circle of a quarter of a disc diameter
about the centre), `microaneurysm`, `haemorrhage`, `hard-exudate`, `soft-exudate`, `neovascularisation` (the area of the
net of new vessels), `retinal-detachment`, `vitreous-haemorrhage` (blood in the vitreous or before the retina).

A U-Net with sums in place of concatenation, at half the resolution, whose last layer gives four pixels for each of its
own. On the machine that trained it one CPU thread made {speed:.1f} pictures per second beside other work.

## Intended use

Technical demonstration of the pipelines `diabetic-retinopathy`, `critical-findings` and `fundus-comparison`. **It has
seen drawings alone**: on a real photograph its lesions mean nothing, whatever they look like.

## Training data

{done.images} generated photographs (`scripts/phantoms/fundus_lesions.py`, seeds 0 to {done.images - 1}), as
`scripts/train/fundus_lesions_samples.py` shows them: retinopathy of every grade, cups of every size, detachments, blood
before the retina; turned, zoomed, recoloured, lightly spoiled; and a few pictures of other things.
{done.steps} steps of {args.batch} pieces of 256 x 256 pixels in {done.runs} run{"s" if done.runs > 1 else ""} on
the CPU; three in four pieces lie about a pixel of a class drawn at random, so that rare lesions are seen often. That is
short: the loss was still falling. No real photograph was trained on. Figures of shorter runs on part of the held-out
set, and what those runs marked on the real photographs, had been seen; they decided that training began
again on pieces in which every class is as frequent, and went on.

## Evidence

Measured on `model.onnx` with ONNX Runtime on the CPU at the threshold 0.5. A lesion is found where one pixel of the
mask lies on it; a marked one is right where one pixel of it lies on a true one. A detachment or blood counts as there
from 0.5 % of the picture on. Held-out photographs come from the same generator: they say how well it learnt the
drawings, not how it reads eyes. `n` of a Dice is the number of pictures that show the class.

{common.evidence_table(manifest["evidence"])}

## Real photographs, each as it is

None was trained on. Disc and fovea: distance from where a person sees them, in disc diameters (DD, taken as an eighth
of the picture); lesions: how many it marks; the last two: share of the picture. By eye, `drimdb_example.jpg` has one
large haemorrhage and `fundus1.jpg` is too poor to grade; the others show no lesion that we are sure of.

{photographs}

## Limits

- Everything it knows is drawn. Real haemorrhages, exudates, vessels and discs vary in ways that it never saw, and the
  table above shows what that does to it.
- Venous beading, intraretinal microvascular abnormalities, fibrosis, scars of laser, drusen, myopic and hereditary
  disease were never shown and are called what they resemble.
- It marks too much: see the precision of soft exudates and new vessels, and the lesions in healthy eyes. A net of new
  vessels is marked in several pieces. Haemorrhages and microaneurysms are told apart by size, and badly.
- A microaneurysm is one to three pixels wide at this size; in a photograph that is slightly out of focus it is lost.
- Reflections, dust and lashes may be marked as exudates or blood. Use it behind a check of gradability.
- Cups are found by their paleness, not by depth.
- Wide-field, red-free and angiographic pictures were not part of training. It was not examined across cameras or groups
  of patients.
"""
