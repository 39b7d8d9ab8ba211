"""Known weaknesses of old Orthanc versions that an operator must hear of."""

import re

from airouter.web.services import Notice

# Fixed together in 1.12.11, as that release's notes say; no plugin can prevent them.
PATCHED = (1, 12, 11)
CVES = tuple(f"CVE-2026-{n}" for n in range(5437, 5446))


def notice(version: str | None) -> Notice | None:
    """What to say about this Orthanc version; None for a patched one, or for one that is not known yet."""
    if version is None:
        return None
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if match is None:
        return Notice(
            f"Orthanc {version} is not a release: whether it is patched cannot be told",
            "Run a release from 1.12.11 on.",
        )
    if tuple(int(part) for part in match.groups()) >= PATCHED:
        return None
    return Notice(
        f"Orthanc {version} has known weaknesses that a malformed DICOM file can use: {', '.join(CVES)}",
        "Update Orthanc to 1.12.11 or newer; until then accept DICOM and uploads from trusted senders only.",
    )
