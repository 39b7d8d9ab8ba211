"""The artefacts of a slide that a model may tell apart, known by their codes (PS3.16 CID 7164), never by their names.

A pixel has one artefact. Where a model finds several the first in the table counts: what lies over the tissue before
what is wrong with the tissue, and that before what the scanner did.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import NotAnalysed
from airouter.domain.model import Head, Model
from airouter.pipelines.tissue_classes import BACKGROUND

FINE: Final = 1  # label of a pixel without artefact; 0 was not looked at


@dataclass(frozen=True, slots=True)
class Artefact:
    """One kind of artefact.

    `code`: of the model's class; `type`: what is written, of CID 7164; `limit`: the parameter that limits it.
    `over`: it lies over the tissue and may hide its edge; `coloured`: it cannot be told from tissue by its colour.
    """

    name: str
    code: Code
    type: Code
    limit: str
    over: bool = False
    coloured: bool = False


def _artefact(name: str, code: Code, limit: str, type: Code | None = None, **more: bool) -> Artefact:
    return Artefact(name, code, type or code, limit, **more)


# The order is the precedence.
ARTEFACTS: Final = (
    _artefact("pen marks", codes.SLIDE_MARKING, "max_marking_percent", over=True, coloured=True),
    _artefact("foreign material", codes.FOREIGN_MATERIAL, "max_foreign_percent", over=True, coloured=True),
    _artefact("air bubbles", codes.AIR_BUBBLE, "max_bubble_percent", over=True),
    _artefact("coverslip edge", codes.COVERSLIP_EDGE, "max_coverslip_percent", over=True),
    _artefact("cover slip defect", codes.COVER_SLIP_DEFECT, "max_coverslip_percent", over=True),
    _artefact("scratches", codes.SCRATCH, "max_coverslip_percent", over=True),
    _artefact("folded", codes.FOLDED_TISSUE, "max_fold_percent"),
    _artefact("out of focus", codes.OUT_OF_FOCUS, "max_focus_percent"),
    _artefact("understained", codes.UNDERSTAINED, "max_stain_percent", codes.INADEQUATELY_STAINED),
    _artefact("overstained", codes.OVERSTAINED, "max_stain_percent", codes.INADEQUATELY_STAINED),
    _artefact("inadequately stained", codes.INADEQUATELY_STAINED, "max_stain_percent"),
    _artefact("stitching", codes.STITCHING, "max_scan_percent"),
    _artefact("stripes", codes.STRIPES, "max_scan_percent"),
    _artefact("unusable for another reason", codes.UNUSABLE_TISSUE, "max_other_percent"),
)

# Not artefacts. Ink on the tissue marks a margin and belongs there.
_FINE: Final = (
    codes.IN_FOCUS, codes.ADEQUATELY_STAINED, codes.USABLE_TISSUE, codes.TISSUE, codes.TISSUE_MARKING, codes.BACKGROUND,
)  # fmt: skip
_BY_CODE: Final = {(each.code.value, each.code.scheme): each for each in ARTEFACTS}
_FINE_CODES: Final = frozenset((code.value, code.scheme) for code in _FINE)
# What a reader expects to have been looked for, and the codes any of which says so.
_EXPECTED: Final[Mapping[str, tuple[Code, ...]]] = {
    "focus": (codes.OUT_OF_FOCUS,),
    "folds": (codes.FOLDED_TISSUE,),
    "staining": (codes.UNDERSTAINED, codes.OVERSTAINED, codes.INADEQUATELY_STAINED),
    "pen marks": (codes.SLIDE_MARKING,),
    "air bubbles": (codes.AIR_BUBBLE,),
    "edge of the cover slip": (codes.COVERSLIP_EDGE, codes.COVER_SLIP_DEFECT),
    "scanning stripes": (codes.STRIPES, codes.STITCHING),
}


def artefact(code: Code | None) -> Artefact | None:
    """The artefact of a class's code, None where it is none."""
    return None if code is None else _BY_CODE.get((code.value, code.scheme))


class Labels:
    """What a model's answers become: uint8 labels, `FINE`, or 2 on for the artefacts of the model in their order.

    `artefacts`: those the model knows; label n + 2 is artefacts[n]. `blur_probability`: least probability of what is
    out of focus, None for the model's own rule. Raises ValueError for a model that `misfit` refuses.
    """

    def __init__(self, head: Head, blur_probability: float | None = None) -> None:
        found = [artefact(each.code) for each in head.classes]
        self.artefacts = tuple(each for each in ARTEFACTS if each in found)
        if not self.artefacts:
            raise ValueError("the model knows no artefact")
        self._head = head
        self._blur = blur_probability
        self._of_class = np.array([self.number(each) if each else FINE for each in found], np.uint8)

    def number(self, artefact: Artefact) -> int:
        """The label of an artefact that the model knows."""
        return self.artefacts.index(artefact) + FINE + 1

    def of(self, maps: NDArray[np.float32]) -> NDArray[np.uint8]:
        """[rows, columns] of the model's answer, float32 [classes, rows, columns]."""
        if self._head.exclusive:
            best = maps.argmax(axis=0)
            labels = np.asarray(self._of_class[best], np.uint8)
            if self._blur is not None:
                blurred = [n for n, each in enumerate(self._head.classes) if _is_blur(each.code)]
                sharp = maps[blurred].sum(axis=0) < self._blur if blurred else np.zeros(labels.shape, np.bool_)
                labels[np.isin(best, blurred) & sharp] = FINE
            return labels
        labels = np.full(maps.shape[1:], FINE, np.uint8)
        for n in sorted(range(len(maps)), key=lambda n: -int(self._of_class[n])):  # the first in order is put last
            if self._of_class[n] == FINE:
                continue
            each = self._head.classes[n]
            least = self._blur if self._blur is not None and _is_blur(each.code) else each.threshold
            labels[maps[n] >= least] = self._of_class[n]
        return labels

    def not_looked_for(self) -> tuple[NotAnalysed, ...]:
        """What a reader expects of such an analysis and the model has no class for."""
        known = {each.code for each in self.artefacts}
        return tuple(
            NotAnalysed(what, "not analysed because the model has no class for it")
            for what, any_of in _EXPECTED.items()
            if not known.intersection(any_of)
        )


def misfit(model: Model, parameters: Mapping[str, Any]) -> str | None:
    """Why a model cannot say what is wrong with a slide, None where it can."""
    unknown = [
        each.name
        for each in model.head.classes
        if artefact(each.code) is None
        and (each.name != BACKGROUND if each.code is None else (each.code.value, each.code.scheme) not in _FINE_CODES)
    ]
    if unknown:
        return f"model {model.name} has classes whose codes name no known quality of a slide: {', '.join(unknown)}"
    found = [artefact(each.code) for each in model.head.classes]
    if not any(found):
        return f"model {model.name} has no class with the code of an artefact (CID 7164)"
    if model.head.exclusive and all(found):
        return f"model {model.name} has only artefacts to choose among, and no class for what has none"
    return None


def _is_blur(code: Code | None) -> bool:
    found = artefact(code)
    return found is not None and found.code == codes.OUT_OF_FOCUS
