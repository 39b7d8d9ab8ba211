"""A header as routing sees it."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from airouter.domain.study import Attribute, Attributes
from airouter.imaging.header import MALFORMED

_BULK: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "OB or OW", "UN"})
_PER_FRAME: Final = 0x52009230
_INTEGERS: Final = frozenset({"IS", "SS", "SL", "SV", "US", "UL", "UV", "US or SS"})
_REALS: Final = frozenset({"DS", "FL", "FD"})


def attributes(dataset: Dataset) -> Attributes:
    """Keyword -> attribute, sequences nested.

    Left out: private and unknown attributes, bulk values (OB, OW, ...), pixel data and the per-frame functional groups.
    IS and the binary integers become int, DS and the binary floats become float, the rest (PN, dates, UIDs, tags) text.
    A value that cannot be read is left out, so that no rule can match it.
    """
    made: dict[str, Attribute] = {}
    for tag in list(dataset.keys()):  # not over the elements: iterating converts each, and one may be malformed
        if tag.is_private or tag == _PER_FRAME:  # large: it is not even decoded
            continue
        try:
            element = dataset[tag]
            keyword = element.keyword
            if keyword and element.VR not in _BULK:
                made[keyword] = Attribute(str(element.VR), tuple(_values(element)))
        except MALFORMED:
            continue
    return made


def _values(element: DataElement) -> Iterator[Any]:
    value = element.value
    if element.VR == "SQ":
        yield from (attributes(item) for item in value)
        return
    values: Iterable[Any] = value if isinstance(value, MultiValue | list) else (value,)
    for one in values:
        if one is None or one == "":
            continue
        if element.VR in _INTEGERS:
            yield int(one)
        elif element.VR in _REALS:
            yield float(one)
        else:
            yield str(one)
