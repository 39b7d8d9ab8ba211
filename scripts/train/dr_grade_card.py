"""The card of `dr-grade`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import common
import numpy as np
from numpy.typing import NDArray


def card_of(
    manifest: Mapping[str, Any],
    done: common.Progress,
    args: argparse.Namespace,
    grades: Sequence[str],
    table: NDArray[np.int64],
    real: Mapping[str, NDArray[np.float32]],
    trunk: str,
) -> str:
    """card.md. table: truth by answer on held-out pictures. real: answers on photographs. trunk: digest of its file.

    The table and the answers have their grades in the order of `grades`.
    """
    confusion = ["| drawn as | " + " | ".join(f"told {name}" for name in grades) + " |", "|---" * 6 + "|"]
    confusion += [
        f"| {name} | " + " | ".join(str(n) for n in row) + " |" for name, row in zip(grades, table, strict=True)
    ]
    answers = ["| photograph | " + " | ".join(grades) + " |", "|---" * 6 + "|"]
    answers += [f"| {name} | " + " | ".join(f"{v:.2f}" for v in told) + " |" for name, told in real.items()]
    confused, told_real = "\n".join(confusion), "\n".join(answers)
    return f"""# {manifest["title"]}

**{manifest["name"]} {manifest["version"]}**, {manifest["manufacturer"]}, {manifest["licence"]}.
{common.NOT_A_DEVICE} Intended use: {manifest["intended_use"]}.

Weights: `model.onnx`, SHA-256 `{manifest["weights"]["sha256"]}`.

## What it does

Reads one colour photograph, scaled whole into 512 x 512 with black borders, values 0..1, and gives the probabilities of
five grades of the International Clinical Diabetic Retinopathy scale (Wilkinson et al., Ophthalmology 2003), which add
up to 1: {", ".join(f"`{name}`" for name in grades)}.

Its trunk is the model [fundus-lesions](../fundus-lesions/card.md), unchanged (SHA-256 `{trunk}`).
From the trunk's maps the graph counts lesions of each kind in the four quadrants of the picture about the fovea, sums
their areas, and gives these numbers to a network of one hidden layer of 32.

## Intended use

Technical demonstration of the pipeline `diabetic-retinopathy`. **It has seen drawings alone**: on a real photograph its
grade means nothing.

## Training data

The hidden layer: {done.images} generated photographs (`scripts/phantoms/fundus_lesions.py`) that the trunk had not
seen, each grade as often, without detachments, with blood before the retina at grade 4 alone;
{done.steps} steps of {args.batch} in {done.runs} run{"s" if done.runs > 1 else ""}. The trunk: see its card.

## Evidence

Measured on `model.onnx` with ONNX Runtime on the CPU, on seeds that neither part was trained on. The grade told is the
most probable one; moderate or worse is told where the last three add up to at least 0.5. Held-out photographs come from
the same generator, whose grades differ by its own rules: more than 20 haemorrhages in each quadrant or far fewer, new
vessels or none. Real eyes lie in between.

{common.evidence_table(manifest["evidence"])}

{confused}

## Real photographs, each as it is

None was trained on, none has a known grade, and one eye cannot be graded from one field alone; these are the answers,
not a test.

{told_real}

## Limits

- All limits of [fundus-lesions](../fundus-lesions/card.md): what it takes for a lesion, this model counts.
- Grade 3 was drawn by its first criterion only (haemorrhages in four quadrants): venous beading and intraretinal
  microvascular abnormalities were never shown. New vessels were drawn as coarse nets.
- Probabilities are not calibrated on eyes. A photograph that is not gradable gets a grade all the same: ask a model of
  gradability first.
- Diseases other than diabetic retinopathy are graded as what they resemble.
"""
