"""The models as routing sees them: name to contract, and whether each can be used."""

from collections.abc import Callable, Iterable, Mapping

from airouter.domain.model import Model
from airouter.errors import RouterError
from airouter.ports import Predictor


def catalogue(names: Iterable[str], predictor: Callable[[str], Predictor]) -> dict[str, Model | None]:
    """Every model by name, loaded; None for one that cannot be used."""
    found: dict[str, Model | None] = {}
    for name in names:
        try:
            found[name] = predictor(name).model
        except RouterError:
            found[name] = None  # the repository keeps the reason and logged it
    return found


def usable(models: Mapping[str, Model | None]) -> dict[str, Model]:
    """Only those that can be used."""
    return {name: model for name, model in models.items() if model is not None}
