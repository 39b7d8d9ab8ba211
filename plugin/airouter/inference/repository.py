"""The models folder: every model in it is loaded once, tested, and shared by all threads."""

import logging
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from airouter.domain.model import Model
from airouter.errors import ConfigurationError, ManifestError, RouterError
from airouter.inference import manifest, providers, selftest, variant, weights
from airouter.inference.schema import ManifestKeys
from airouter.inference.session import Session
from airouter.ports import Predictor

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model folder and whether its model can be used. What is not known of a broken one is None.

    `reason` says why it cannot be used or, of a usable one, what could not be tested.
    """

    name: str
    version: str | None
    sha256: str | None
    provider: str | None
    usable: bool
    reason: str | None


class _Entry:
    """One folder: its lock, and what loading it gave."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.Lock()
        self.model: Model | None = None
        self.loaded: Session | RouterError | None = None
        self.remark: str | None = None


class ModelRepository:
    """Models by name, from the subfolders of one folder that hold a manifest or an ONNX file.

    Each is loaded at its first use, or by `load` for all; a broken one does not keep the others from working and is
    not tried again before a restart. `configured` and `threads` are those of `Session`, `most_bytes` caps a weights
    file; the models named in `quantized` run with their 8-bit weights or not at all. Raises ConfigurationError where
    no configured execution provider is available.
    """

    def __init__(
        self,
        folder: Path,
        *,
        configured: Sequence[str] = ("CPU",),
        threads: int = 1,
        most_bytes: int = weights.MOST_BYTES,
        quantized: Collection[str] = (),
    ) -> None:
        providers.choose(configured)
        self._configured = tuple(configured)
        self._threads = threads
        self._most_bytes = most_bytes
        self._quantized = frozenset(quantized)
        try:
            folders = sorted(path for path in folder.iterdir() if _is_model(path))
        except OSError as error:
            raise ConfigurationError("AIRouter.ModelsDirectory", f"{folder}: {error.strerror}") from error
        self._entries = {path.name: _Entry(path) for path in folders}

    def names(self) -> tuple[str, ...]:
        """Every model folder's name, also of broken ones, in alphabetical order."""
        return tuple(self._entries)

    def get(self, name: str) -> Predictor:
        """The loaded model. Raises ManifestError for an unknown name, and whatever loading it raised."""
        entry = self._entries.get(name)
        if entry is None:
            known = ", ".join(self._entries) or "none"
            raise ManifestError(f"no model is called {name!r}; there are: {known}")
        loaded = self._load(entry)
        if isinstance(loaded, RouterError):
            raise loaded.with_traceback(None)
        return loaded

    def load(self) -> None:
        """Load and test every model now instead of at first use. Raises nothing: `status` tells."""
        for entry in self._entries.values():
            self._load(entry)

    def status(self) -> list[ModelStatus]:
        """Every model folder and how it stands; loads what was not loaded yet."""
        return [_status(name, entry, self._load(entry)) for name, entry in self._entries.items()]

    def _load(self, entry: _Entry) -> Session | RouterError:
        """Once per folder; others may be loaded by other threads meanwhile."""
        with entry.lock:
            if entry.loaded is not None:
                return entry.loaded
            try:
                keys = manifest.read(entry.folder)
                entry.model = manifest.model_of(keys)
                if entry.folder.name in self._quantized:
                    entry.loaded = self._load_variant(entry, entry.model, keys)
                else:
                    data = weights.load(entry.folder / keys.weights.file, keys.weights.sha256, self._most_bytes)
                    session = Session(entry.model, data, self._configured, self._threads)
                    entry.remark = selftest.check(session, entry.folder)
                    entry.loaded = session
            except RouterError as error:
                _log.error("Model %s cannot be used: %s", entry.folder.name, error)
                entry.loaded = error
            return entry.loaded

    def _load_variant(self, entry: _Entry, model: Model, keys: ManifestKeys) -> Session:
        """The 8-bit weights in place of the manifest's. Raises as `variant.load` does: never the others instead."""
        data, recorded = variant.load(entry.folder, keys, self._most_bytes)
        entry.model = variant.of(model, data.sha256)
        session = Session(entry.model, data, self._configured, self._threads)
        selftest.check_variant(session, recorded)
        return session


def _is_model(path: Path) -> bool:
    if path.name.startswith(".") or not path.is_dir():
        return False
    return (path / manifest.FILE).is_file() or any(path.glob("*.onnx"))


def _status(name: str, entry: _Entry, loaded: Session | RouterError) -> ModelStatus:
    usable = isinstance(loaded, Session)
    return ModelStatus(
        name=name,
        version=entry.model.version if entry.model else None,
        sha256=entry.model.sha256 if entry.model else None,
        provider=loaded.provider if isinstance(loaded, Session) else None,
        usable=usable,
        reason=entry.remark if usable else str(loaded),
    )
