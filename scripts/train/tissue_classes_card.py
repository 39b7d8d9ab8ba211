"""The card of the model `tissue-classes`."""

import argparse
from collections.abc import Mapping
from typing import Any

import common


def card_of(manifest: Mapping[str, Any], done: common.Progress, args: argparse.Namespace, parameters: int) -> str:
    """card.md: what a reader must know before using the model."""
    return f"""# {manifest["title"]}

**{manifest["name"]} {manifest["version"]}**, {manifest["manufacturer"]}, {manifest["licence"]}.
"""
