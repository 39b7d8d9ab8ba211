"""The card of the model `tissue-classes`."""

import argparse
from collections.abc import Mapping
from typing import Any

import common


def card_of(manifest: Mapping[str, Any], done: common.Progress, args: argparse.Namespace, parameters: int) -> str:
    """card.md: what a reader must know before using the model."""
    return f"""# {manifest["title"]}

**{manifest["name"]} {manifest["version"]}**, {manifest["manufacturer"]}, {manifest["licence"]}.
{common.NOT_A_DEVICE} Intended use: demonstration.

Weights: `model.onnx`, SHA-256 `{manifest["weights"]["sha256"]}`.

## What it does

Reads RGB patches of 256 x 256 pixels at 2 um per pixel, values 0..1, and gives each pixel the probability of seven
classes, which exclude each other: `background` (glass), `tumour` (solid), `tubule` (tumour glands with their lumen),
`stroma`, `normal` (benign lobules, lymphoid tissue), `necrosis` and `ink` (on the margin of the specimen).

The net is a U-Net with {parameters / 1e6:.2f} million parameters that sums its skip connections.

## Intended use

Technical demonstration of the pathology pipelines on generated slides: areas, tumour bed, margin, and where cells lie.
**It has never been shown a real tumour.** On a real slide its answer means nothing, whatever it looks like.

## Training data

{manifest["training"]["data"]}. Fields are drawn at 1 um and reduced to 2 um as a scanner's pyramid is; dyes,
brightness, focus, JPEG, scale and turns are varied. {done.steps} steps in
{done.runs} run{"s" if done.runs > 1 else ""} on two CPU cores.

## Evidence

Measured on `model.onnx` with ONNX Runtime on the CPU. Held-out fields have other numbers than all that were
trained on, but come from the same generator: these figures say that the net has learnt the generator.

{common.evidence_table(manifest["evidence"])}

CMU-1 is a public H&E slide, the region shows skin. Nobody drew classes on it, and no tumour is known in it: what is
called tumour, tubule, necrosis or ink there is wrong. Looked at: most of the epidermis is called normal and most
collagen stroma, but horny layers are called tumour in bands, flakes of keratin and dark edges ink, and clefts tubule.

## Limits

- Everything that the generator does not draw is unknown to it: vessels, nerves, fat, muscle, skin, cartilage, mucus,
  haemorrhage, in-situ growth, every tumour that is not nests or glands.
- Small islands called tumour near ink or at the edge of tissue move the distance to a margin to 0: on the generated
  excision of the demonstration it finds 0.00 mm where 0.15 mm is true.
- Folded, blurred and over- or understained tissue was not trained on.
"""
