"""What was made of some images once, for those who need it again."""

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

_T = TypeVar("_T")


class Memo:
    """Values by key, each made once: who asks while it is made waits for it. Lives and dies with its images.

    What making it raises reaches the one who made it; the next one makes it anew.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}
        self._values: dict[Hashable, Any] = {}

    def get(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """The value of a key; `make` where there is none yet. A key always has values of one type."""
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            if key not in self._values:
                self._values[key] = make()
            value: _T = self._values[key]
            return value
