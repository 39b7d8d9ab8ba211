"""What the composition root reads of Orthanc's configuration that is no setting of the router."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airouter import config

_HTTP_THREADS = 50  # Orthanc's own default


def viewer_folder(document: Mapping[str, Any], base: Path) -> Path:
    """Where the viewer is; the settings may be wrong, and the viewer is served all the same."""
    section = document.get(config.SECTION)
    named = section.get("ViewerDirectory") if isinstance(section, Mapping) else None
    if isinstance(named, str) and named:
        return base / named
    return Path(__file__).resolve().parents[3] / ".cache" / "ohif" / "viewer"


def waiting(document: Mapping[str, Any]) -> tuple[int, int]:
    """How many requests for images, and how many others, may wait for us at once. A fifth of Orthanc's HTTP threads is
    left: what we ask of Orthanc while they wait needs one, too."""
    threads = document.get("HttpThreadsCount")
    threads = threads if isinstance(threads, int) and threads > 0 else _HTTP_THREADS
    return max(1, threads * 2 // 5), max(1, threads * 2 // 5)


def dicom_web_root(document: Mapping[str, Any]) -> str:
    section = document.get("DicomWeb")
    return str(section.get("Root", "/dicom-web/")) if isinstance(section, Mapping) else "/dicom-web/"


def base_folder(orthanc: Any) -> Path:
    """Folder that relative paths of the configuration start at; Orthanc takes those of a folder from the folder."""
    path = Path(orthanc.GetConfigurationPath() or ".").resolve()
    return path if path.is_dir() else path.parent
