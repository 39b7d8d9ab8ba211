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
"""
