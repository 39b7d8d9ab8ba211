"""A visual field by static perimetry: what was tested on which eye, how reliably, and what came out of it.

Everything is as the object carries it (visual field modules of PS3.3): missing is None and nothing is worked out from
other values. Where an object contradicts itself it is not read.
"""

import datetime
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pydicom.dataset import Dataset

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Ungradable
from airouter.domain.study import Instance, Laterality
from airouter.imaging.header import first_item, is_code, laterality, number, taken
from airouter.imaging.perimetry import Count, Index, Location, Reliability, Settings

_GHT_RESULTS: Final = (
    codes.OUTSIDE_NORMAL_LIMITS,
    codes.BORDERLINE,
    codes.ABNORMALLY_HIGH_SENSITIVITY,
    codes.GENERAL_REDUCTION,
    codes.BORDERLINE_AND_REDUCTION,
    codes.WITHIN_NORMAL_LIMITS,
)
_SEEN: Final = {"SEEN": True, "SEEN AT MAX": True, "NOT SEEN": False}


@dataclass(frozen=True, slots=True, eq=False)
class VisualField:
    """One test of one eye.

    `floor`: the lowest sensitivity that the test can give (Minimum Sensitivity Value), in dB. `md`: Global Deviation
    from Normal (mean deviation), `psd`: Localized Deviation from Normal (pattern standard deviation), both in dB.
    `vfi`: Visual Field Index in %. `ght`: result of the glaucoma hemifield test. `age` in years at the test.
    """

    instance_uid: str
    instance_id: str
    laterality: Laterality | None
    settings: Settings
    points: tuple[Location, ...]
    reliability: Reliability
    floor: float | None
    md: Index | None
    psd: Index | None
    vfi: Index | None
    ght: Code | None
    foveal: float | None
    blind_spot: tuple[float, float] | None
    duration_s: float | None
    age: float | None
    header: Dataset = field(repr=False)

    @property
    def pattern(self) -> Code | None:
        """The test pattern (CID 4250, e.g. 24-2), None where it is not coded."""
        return self.settings.pattern

    def level(self, point: Location) -> float | None:
        """A point's sensitivity in dB with what lies below the floor at the floor (0 dB where none is given).

        A stimulus that was not seen has no sensitivity: `< 0 dB` on a printout, -1 or -2 in some exports. For
        differences and slopes it stands at the floor, as is usual, which makes losses beyond it invisible.
        """
        floor = self.floor or 0.0
        if not point.seen:
            return floor
        return None if point.sensitivity is None else max(point.sensitivity, floor)


class _Contradiction(Exception):
    """The object says two things at once; caught where the field is opened."""


def open_field(instance: Instance, header: Dataset) -> VisualField | Ungradable:
    """Read the header; Ungradable where it has no test point or contradicts itself."""
    try:
        points = _points(
            header.get("VisualFieldTestPointSequence") or [], number(header.get("MinimumSensitivityValue"))
        )
        patterns, strategies = _protocol(header.get("PerformedProtocolCodeSequence") or [])
        results = header.get("ResultsNormalsSequence") or []
        return VisualField(
            instance_uid=instance.uid,
            instance_id=instance.id,
            laterality=laterality(header),
            settings=Settings(
                device=_words(header.get("Manufacturer"), header.get("ManufacturerModelName")),
                pattern=patterns,
                strategy=strategies,
                stimulus_deg2=number(header.get("StimulusArea")),
                normals=_normals(header),
            ),
            points=points,
            reliability=_reliability(header),
            floor=number(header.get("MinimumSensitivityValue")),
            md=_deviation(results, "mean deviation", "GlobalDeviationFromNormal", "GlobalDeviationProbability"),
            psd=_deviation(
                results, "pattern standard deviation", "LocalizedDeviationFromNormal", "LocalizedDeviationProbability"
            ),
            vfi=_vfi(header),
            ght=_ght(header),
            foveal=number(header.get("FovealSensitivity")),
            blind_spot=_pair(header.get("BlindSpotXCoordinate"), header.get("BlindSpotYCoordinate")),
            duration_s=_positive(header.get("VisualFieldTestDuration")),
            age=_age(header),
            header=header,
        )
    except _Contradiction as problem:
        return Ungradable(f"not analysed because {problem}")


def _points(items: Sequence[Dataset], floor: float | None) -> tuple[Location, ...]:
    if not items:
        raise _Contradiction("the visual field has no test point")
    found: dict[tuple[float, float], Location] = {}
    for item in items:
        at = _pair(item.get("VisualFieldTestPointXCoordinate"), item.get("VisualFieldTestPointYCoordinate"))
        if at is None:
            raise _Contradiction("a test point has no coordinates")
        if at in found:
            raise _Contradiction(f"two test points lie at {at[0]:g}, {at[1]:g} degrees")
        seen = _SEEN.get(str(item.get("StimulusResults") or ""))
        sensitivity = number(item.get("SensitivityValue"))
        where = f"the test point at {at[0]:g}, {at[1]:g} degrees"
        if seen is None:
            raise _Contradiction(f"{where} does not say whether it was seen")
        if not seen and sensitivity is not None and sensitivity > (floor or 0.0):
            raise _Contradiction(f"{where} was not seen, yet its sensitivity is {sensitivity:g} dB")
        normal = first_item(item, "VisualFieldTestPointNormalsSequence")
        found[at] = Location(*at, seen, sensitivity, *_deviations(normal))
    return tuple(found.values())


def _deviations(normal: Dataset | None) -> tuple[float | None, float | None, float | None, float | None]:
    """Total deviation, its probability, pattern deviation, its probability."""
    if normal is None:
        return None, None, None, None
    total = number(normal.get("AgeCorrectedSensitivityDeviationValue"))
    pattern = number(normal.get("GeneralizedDefectCorrectedSensitivityDeviationValue"))
    if normal.get("GeneralizedDefectCorrectedSensitivityDeviationFlag") == "NO":
        pattern = None
    return (
        total,
        _percent(normal.get("AgeCorrectedSensitivityDeviationProbabilityValue")) if total is not None else None,
        pattern,
        _percent(normal.get("GeneralizedDefectCorrectedSensitivityDeviationProbabilityValue"))
        if pattern is not None
        else None,
    )


def _protocol(items: Sequence[Dataset]) -> tuple[Code | None, Code | None]:
    """Test pattern and strategy: among the codes of the performed protocol or in their context."""
    context = [content for item in items for content in item.get("ProtocolContextSequence") or []]
    context += [modifier for content in context for modifier in content.get("ContentItemModifierSequence") or []]
    values = [first_item(content, "ConceptCodeSequence") for content in context]
    said = [
        Code(value, "DCM", str(item.get("CodeMeaning") or "") or value)
        for item in (*items, *values)
        if item is not None
        and (value := str(item.get("CodeValue") or ""))
        and item.get("CodingSchemeDesignator") == "DCM"
    ]
    patterns = {code.value: code for code in said if code.value in codes.VISUAL_FIELD_PATTERNS}
    strategies = {code.value: code for code in said if code.value in codes.VISUAL_FIELD_STRATEGIES}
    for name, found in (("test patterns", patterns), ("strategies", strategies)):
        if len(found) > 1:
            raise _Contradiction(f"it names two {name}: {', '.join(sorted(c.meaning for c in found.values()))}")
    return next(iter(patterns.values()), None), next(iter(strategies.values()), None)


def _reliability(header: Dataset) -> Reliability:
    fixation = first_item(header, "FixationSequence") or Dataset()
    trials = first_item(header, "VisualFieldCatchTrialSequence") or Dataset()
    counted = trials.get("CatchTrialsDataFlag") != "NO"
    flags = (
        (fixation, "FixationLosses", "fixation losses"),
        (trials, "FalsePositives", "false positives"),
        (trials, "FalseNegatives", "false negatives"),
    )
    return Reliability(
        fixation_losses=_count(
            "fixation losses",
            fixation.get("PatientNotProperlyFixatedQuantity"),
            fixation.get("FixationCheckedQuantity"),
        ),
        false_positives=_count(
            "false positives", trials.get("FalsePositivesQuantity"), trials.get("PositiveCatchTrialsQuantity")
        )
        if counted
        else None,
        false_positive_percent=_estimate(trials, "FalsePositivesEstimate"),
        false_negatives=_count(
            "false negatives", trials.get("FalseNegativesQuantity"), trials.get("NegativeCatchTrialsQuantity")
        )
        if counted
        else None,
        false_negative_percent=_estimate(trials, "FalseNegativesEstimate"),
        excessive=tuple(
            name
            for item, keyword, name in flags
            if item.get(f"Excessive{keyword}DataFlag") == "YES" and item.get(f"Excessive{keyword}") == "YES"
        ),
    )


def _count(name: str, times: object, trials: object) -> Count | None:
    """None where either is missing or there was no trial."""
    happened, tried = number(times), number(trials)
    if happened is None or not tried:
        return None
    if not 0 <= happened <= tried:
        raise _Contradiction(f"it counts {happened:g} {name} in {tried:g} trials")
    return Count(int(happened), int(tried))


def _estimate(trials: Dataset, keyword: str) -> float | None:
    return None if trials.get(f"{keyword}Flag") == "NO" else _percent(trials.get(keyword))


def _deviation(results: Sequence[Dataset], name: str, keyword: str, probability: str) -> Index | None:
    """A deviation of the whole field; several normative data sets may stand there as long as they agree."""
    found = [
        Index(value, _percent((first_item(item, f"{probability}Sequence") or Dataset()).get(probability)))
        for item in results
        if (value := number(item.get(keyword))) is not None
    ]
    if len({index.value for index in found}) > 1:
        raise _Contradiction(f"it gives two values of the {name}")
    return found[0] if found else None


def _observations(header: Dataset, name: Code) -> list[tuple[Dataset, Dataset]]:
    """(index, observation) of every global result with that concept name."""
    return [
        (index, observation)
        for index in header.get("VisualFieldGlobalResultsIndexSequence") or []
        for observation in index.get("DataObservationSequence") or []
        if (concept := first_item(observation, "ConceptNameCodeSequence")) is not None and is_code(concept, name)
    ]


def _vfi(header: Dataset) -> Index | None:
    found = {
        Index(value, _percent((first_item(index, "IndexProbabilitySequence") or Dataset()).get("IndexProbability")))
        for index, observation in _observations(header, codes.VISUAL_FIELD_INDEX)
        if (value := number(observation.get("NumericValue"))) is not None
    }
    if len({index.value for index in found}) > 1:
        raise _Contradiction("it gives two values of the visual field index")
    index = next(iter(found), None)
    if index is not None and not 0.0 <= index.value <= 100.0:
        raise _Contradiction(f"its visual field index is {index.value:g} %")
    return index


def _ght(header: Dataset) -> Code | None:
    """The result as a code of CID 4254; another code is not understood and left out."""
    said = [first_item(observation, "ConceptCodeSequence") for _, observation in _observations(header, codes.GHT)]
    found = {code for item in said if item is not None for code in _GHT_RESULTS if is_code(item, code)}
    if len(found) > 1:
        raise _Contradiction("it gives two results of the glaucoma hemifield test")
    return next(iter(found), None)


def _normals(header: Dataset) -> str:
    """Name and version of the normative data of the indices, else of the points; empty where neither says."""
    item = first_item(header, "ResultsNormalsSequence") or first_item(header, "TestPointNormalsSequence")
    return _words(item.get("DataSetName"), item.get("DataSetVersion")) if item is not None else ""


def _age(header: Dataset) -> float | None:
    """From the dates of birth and of the test; else as the header says it, in years."""
    born, tested = str(header.get("PatientBirthDate") or ""), taken(header)[:8]
    try:
        days = datetime.datetime.strptime(tested, "%Y%m%d") - datetime.datetime.strptime(born, "%Y%m%d")
    except ValueError:
        said = re.fullmatch(r"(\d{3})Y", str(header.get("PatientAge") or ""))
        return float(said.group(1)) if said else None
    if days.days < 0:
        raise _Contradiction("the patient was born after the test")
    return days.days / 365.25


def _pair(x: object, y: object) -> tuple[float, float] | None:
    one, other = number(x), number(y)
    return None if one is None or other is None else (one, other)


def _positive(value: object) -> float | None:
    made = number(value)
    return made if made is not None and made > 0 else None


def _percent(value: object) -> float | None:
    """A share in %, None for what is none."""
    made = number(value)
    return made if made is not None and 0.0 <= made <= 100.0 and math.isfinite(made) else None


def _words(*values: object) -> str:
    return " ".join(str(value) for value in values if value)
