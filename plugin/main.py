"""What Orthanc's Python plugin runs. Everything else is in the package beside it."""

import contextlib
import json
import os
import site
import sys
from pathlib import Path

# numpy's BLAS would start threads of its own on whatever small stack calls it first.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _find_packages() -> None:
    """Put our virtual environment first, unless PYTHONEXECUTABLE made the interpreter start inside it already."""
    if sys.prefix != sys.base_prefix:
        return
    home = Path(os.environ.get("AIROUTER_VENV", Path(__file__).resolve().parent.parent / ".venv"))
    before = list(sys.path)
    site.addsitedir(str(home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"))
    added = [p for p in sys.path if p not in before]
    sys.path[:] = [*before[:1], *added, *before[1:]]


_find_packages()

import orthanc  # type: ignore[import-not-found]  # noqa: E402

try:
    from airouter.app import start

    start(orthanc)
except Exception as error:  # noqa: BLE001 - outermost seam: an exception here would keep Orthanc itself from starting
    orthanc.LogError(f"AI router not loaded: {type(error).__name__}: {error}. Orthanc serves on without it.")
    section = json.loads(orthanc.GetConfiguration()).get("AIRouter")
    if isinstance(section, dict) and section.get("Users"):
        # Losing the router must give nobody a role that they were not given.
        orthanc.LogError("AIRouter.Users gives roles that nobody checks now: every HTTP request is refused.")
        with contextlib.suppress(Exception):  # registered already, where it failed late
            orthanc.RegisterIncomingHttpRequestFilter(lambda uri, **request: False)
