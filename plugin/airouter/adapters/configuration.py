"""Orthanc's configuration as files, for tools outside Orthanc: one file or a folder of them, comments allowed.

Inside Orthanc nothing here is needed: GetConfiguration() gives the merged document.
"""

import json
import os
import re
import secrets
from pathlib import Path
from typing import Any

import json5

from airouter.errors import ConfigurationError

CREDENTIALS = "credentials.json"
USER = "airouter"
# ${NAME} and ${NAME:-default}, as Orthanc substitutes environment variables.
_VARIABLE = re.compile(r"\$\{([A-Za-z0-9_]+)(?::-([^}]*))?\}")


def read(path: Path) -> dict[str, Any]:
    """The document Orthanc would make of a file, or of every *.json in a folder.

    Raises ConfigurationError for unreadable text, or a section that two files define (Orthanc refuses that too).
    """
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise ConfigurationError(str(path), "holds no configuration file")
    document: dict[str, Any] = {}
    for file in files:
        try:
            part = json5.loads(_VARIABLE.sub(_substitute, file.read_text(encoding="utf-8")))
        except OSError as error:
            raise ConfigurationError(file.name, f"cannot be read: {error.strerror}") from error
        except (ValueError, UnicodeDecodeError) as error:
            raise ConfigurationError(file.name, f"is not JSON: {error}") from error
        if not isinstance(part, dict):
            raise ConfigurationError(file.name, "must hold one JSON object")
        twice = document.keys() & part.keys()
        if twice:
            raise ConfigurationError(sorted(twice)[0], f"is defined a second time in {file.name}")
        document |= part
    return document


def folder_of(path: Path) -> Path:
    """The folder that relative paths of a configuration start at."""
    return (path if path.is_dir() else path.parent).resolve()


def make_credentials(folder: Path) -> Path | None:
    """Write credentials.json with one user and a random password, readable by its owner alone.

    None, and nothing written, where the folder registers users already. Raises ConfigurationError where it holds
    an empty list of users: a second definition in another file would keep Orthanc from starting.
    """
    for file in sorted(folder.glob("*.json")):
        users = read(file).get("RegisteredUsers")
        if users is not None:
            if not users:  # Orthanc 1.10 takes it for none at all and lets its known default in
                raise ConfigurationError("RegisteredUsers", f"is empty in {file.name}: remove it there")
            return None
    target = folder / CREDENTIALS
    text = json.dumps({"RegisteredUsers": {USER: secrets.token_urlsafe(24)}}, indent=2) + "\n"
    # Born with its mode: a file that is made readable and narrowed afterwards could be read in between.
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    return target


def _substitute(match: re.Match[str]) -> str:
    value = os.environ.get(match[1], match[2] or "")
    return value.replace("\\", "\\\\").replace('"', '\\"')
