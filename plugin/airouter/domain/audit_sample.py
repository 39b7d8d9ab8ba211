"""Which studies of the bucket Review & Release are read in full after all, so that what is released is checked.

Drawn by a keyed digest of the study's UID: always the same, and not to be foretold by whoever has not the key.
"""

import hashlib
import hmac


def drawn(key: bytes, study_uid: str, share: float) -> bool:
    """Whether a study is one of the `share` (0..1) that is drawn."""
    digest = hmac.new(key, f"audit sample\n{study_uid}".encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:8], "big") < share * 2.0**64
