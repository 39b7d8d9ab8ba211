"""Composition root: builds the router by hand and ties it to Orthanc's life."""

import threading
from typing import Any

from airouter.app.plugin import Plugin
from airouter.web.threads import STACK_BYTES

__all__ = ["Plugin", "start"]


def start(orthanc: Any) -> None:
    """Called by main.py while Orthanc loads the plugin: register callbacks, start nothing yet."""
    # Workers of the queue run models and decode images: Debian's default of 8 MB would do, Alpine's would not.
    threading.stack_size(STACK_BYTES)
    Plugin(orthanc)
