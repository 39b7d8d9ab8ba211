"""What two methods say of one eye together: fluid and exudate at the macula, nerve fibres and visual field."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from airouter.domain import codes
from airouter.domain.code import Code
from airouter.domain.finding import Evaluation, Finding, Measurement, NotAnalysed, Origin
from airouter.domain.study import Laterality
from airouter.pipelines import garway_heath
from airouter.pipelines.garway_heath import Sector
from airouter.pipelines.pipeline import Parameter, Values
from airouter.pipelines.visit_facts import Fact, first

PARAMETERS: Final = (
    Parameter("min_fluid_ul", 0.01, "uL", "volume of fluid from which on the macula is called wet", 0.0, 100.0),
    Parameter("half_um", 10.0, "um", "difference of the two halves of the nerve fibre layer that counts", 0.0, 200.0),
    Parameter("half_db", 3.0, "dB", "difference of the two halves of the field that counts", 0.0, 50.0),
    Parameter("depressed_db", -5.0, "dB", "mean total deviation of a sector that is depressed", -50.0, 0.0),
    *(
        Parameter(f"thin_{sector}_um", None, "um", f"thickness below which the {sector} sector is thin", 0.0, 300.0)
        for sector in Sector
    ),
)

# The sectors of the optic disc: their nerve fibre layer (CID 4284), and the field whose fibres enter there.
_RNFL: Final = {
    Sector.TEMPORAL: codes.RNFL_TEMPORAL,
    Sector.SUPEROTEMPORAL: codes.RNFL_TEMPORAL_SUPERIOR,
    Sector.SUPERONASAL: codes.RNFL_NASAL_SUPERIOR,
    Sector.NASAL: codes.RNFL_NASAL,
    Sector.INFERONASAL: codes.RNFL_NASAL_INFERIOR,
    Sector.INFEROTEMPORAL: codes.RNFL_TEMPORAL_INFERIOR,
}
_OCT: Final = "macular-oedema"
_FUNDUS: Final = "diabetic-retinopathy"
_NERVE: Final = "nerve-fibre-layer"
_FIELD: Final = "visual-field"


@dataclass(frozen=True, slots=True)
class Correlated:
    """What could be said of an eye, and what could not, with the reason."""

    findings: tuple[Finding, ...]
    missing: tuple[NotAnalysed, ...]


def correlate(facts: Sequence[Fact], eye: Laterality, values: Values) -> Correlated:
    """Both correlations of one eye, from the facts of that eye alone."""
    found: list[Finding] = []
    missing: list[NotAnalysed] = []
    for quantity, answer in (
        ("agreement of fluid and exudate at the macula", _macula(facts, eye, values)),
        ("agreement of nerve fibre layer and visual field", _halves(facts, eye, values)),
    ):
        if isinstance(answer, str):
            missing.append(NotAnalysed(f"{quantity}, {_name(eye)}", f"not analysed because {answer}"))
        else:
            found.append(answer)
    found += _sectors(facts, eye, values)
    return Correlated(tuple(found), tuple(missing))


def _macula(facts: Sequence[Fact], eye: Laterality, values: Values) -> Finding | str:
    """Fluid seen by tomography against hard exudate near the fovea seen in a photograph."""
    wet = [f for f in facts if f.pipeline == _OCT and f.finding in (codes.INTRARETINAL_FLUID, codes.SUBRETINAL_FLUID)]
    amounts = [v for f in wet if (v := f.value(codes.FLUID_VOLUME)) is not None]
    suspected = next((f for f in facts if f.pipeline == _FUNDUS and f.answer(codes.DIABETIC_MACULAR_OEDEMA)), None)
    if not amounts:
        return "there is no volume of fluid by tomography"
    if suspected is None:
        return "no photograph says whether hard exudate lies near the fovea"
    fluid = sum(amounts)
    seen = suspected.answer(codes.DIABETIC_MACULAR_OEDEMA) == codes.PRESENT
    agreement = _agreement(fluid >= values["min_fluid_ul"], seen)
    return Finding(
        key=f"macula-{eye}",
        label=f"Macula by tomography and photograph, {_name(eye)}",
        finding=codes.RETINAL_FLUID,
        site=codes.EYE,
        laterality=eye,
        measurements=(Measurement(codes.FLUID_VOLUME, fluid, codes.UL),),
        evaluations=(Evaluation(codes.VISIT_AGREEMENT, agreement),),
        comment=f"Intraretinal and subretinal fluid {fluid:.3f} uL by tomography; hard exudate within one disc "
        f"diameter of the fovea {'is' if seen else 'is not'} seen in the photograph.",
        method=codes.METHOD_VISIT,
        origins=_origins(*wet, suspected),
    )


def _halves(facts: Sequence[Fact], eye: Laterality, values: Values) -> Finding | str:
    """Whether the thinner half of the nerve fibre layer belongs to the worse half of the field.

    Fibres of the upper half of the field enter the lower half of the disc (Garway-Heath 2000, as in garway_heath).
    The two temporal sectors are compared: their normal thickness is about the same.
    """
    nerve = _nerve(facts)
    upper, lower = (_sector(facts, s) for s in (Sector.INFEROTEMPORAL, Sector.SUPEROTEMPORAL))
    if nerve is None:
        return "no nerve fibre layer by sectors of the disc was measured"
    if upper is None or lower is None:
        return "no visual field by sectors of the disc was measured"
    thick = {s: nerve.value(_RNFL[s]) for s in (Sector.SUPEROTEMPORAL, Sector.INFEROTEMPORAL)}
    above, below = thick[Sector.SUPEROTEMPORAL], thick[Sector.INFEROTEMPORAL]
    high, low = upper.value(codes.MEAN_TOTAL_DEVIATION), lower.value(codes.MEAN_TOTAL_DEVIATION)
    if above is None or below is None or high is None or low is None:
        return "a half of the nerve fibre layer or of the field was not measured"
    thinner = _side(above - below, values["half_um"])  # -1: the upper half of the disc is the thinner one
    worse = -_side(high - low, values["half_db"])  # -1: the lower half of the field, which is the upper of the disc
    if thinner == 0 and worse == 0:
        agreement, words = codes.AGREE_NEITHER, "Neither has a half that stands out."
    elif thinner == worse:
        agreement, words = codes.AGREE_BOTH, "The thinner half of the nerve fibre layer belongs to the worse field."
    elif thinner == 0 or worse == 0:
        agreement = codes.FIRST_ONLY if thinner else codes.SECOND_ONLY
        words = f"Only the {'nerve fibre layer' if thinner else 'field'} has a half that stands out."
    else:
        agreement, words = codes.CONTRADICT, "The thinner half of the nerve fibre layer belongs to the better field."
    return Finding(
        key=f"structure-function-{eye}",
        label=f"Nerve fibre layer and visual field, {_name(eye)}",
        finding=codes.STRUCTURE_FUNCTION,
        site=codes.EYE,
        laterality=eye,
        measurements=(
            Measurement(codes.RNFL_TEMPORAL_SUPERIOR, above, codes.UM),
            Measurement(codes.RNFL_TEMPORAL_INFERIOR, below, codes.UM),
            Measurement(codes.FIELD_LOWER, low, codes.DECIBEL),
            Measurement(codes.FIELD_UPPER, high, codes.DECIBEL),
        ),
        evaluations=(Evaluation(codes.VISIT_AGREEMENT, agreement),),
        comment=words,
        method=codes.METHOD_GARWAY_HEATH,
        origins=_origins(nerve, upper, lower),
    )


def _sectors(facts: Sequence[Fact], eye: Laterality, values: Values) -> list[Finding]:
    """Sector by sector, where both were measured; whether it is thin only where the site says what thin is."""
    found = []
    nerve = _nerve(facts)
    for sector in Sector:
        field = _sector(facts, sector)
        thickness = nerve.value(_RNFL[sector]) if nerve is not None else None
        deviation = field.value(codes.MEAN_TOTAL_DEVIATION) if field is not None else None
        if nerve is None or field is None or thickness is None or deviation is None:
            continue
        limit = values.get(f"thin_{sector}_um")
        answers: tuple[Evaluation, ...] = ()
        comment: str | None = f"No limit of the {sector} sector is configured: whether it is thin is not judged."
        if limit is not None:
            agreement = _agreement(thickness < limit, deviation <= values["depressed_db"])
            answers, comment = (Evaluation(codes.VISIT_AGREEMENT, agreement),), None
        found.append(
            Finding(
                key=f"sector-{sector}-{eye}",
                label=f"Nerve fibre layer and visual field of the {sector} disc sector, {_name(eye)}",
                finding=garway_heath.CODES[sector],
                site=codes.EYE,
                laterality=eye,
                measurements=(
                    Measurement(_RNFL[sector], thickness, codes.UM),
                    Measurement(codes.MEAN_TOTAL_DEVIATION, deviation, codes.DECIBEL),
                ),
                evaluations=answers,
                comment=comment,
                method=codes.METHOD_GARWAY_HEATH,
                origins=_origins(nerve, field),
            )
        )
    return found


def _nerve(facts: Sequence[Fact]) -> Fact | None:
    """The nerve fibre layer by the six sectors of the disc; one by quadrants has other limits."""
    return first(facts, _NERVE, codes.RNFL_TEMPORAL_SUPERIOR)


def _sector(facts: Sequence[Fact], sector: Sector) -> Fact | None:
    wanted = garway_heath.CODES[sector]
    return first([f for f in facts if f.finding == wanted], _FIELD, codes.MEAN_TOTAL_DEVIATION)


def _side(difference: float, least: float) -> int:
    return 0 if abs(difference) < least else (1 if difference > 0 else -1)


def _agreement(one: bool, other: bool) -> Code:
    if one and other:
        return codes.AGREE_BOTH
    if one or other:
        return codes.FIRST_ONLY if one else codes.SECOND_ONLY
    return codes.AGREE_NEITHER


def _origins(*facts: Fact) -> tuple[Origin, ...]:
    return tuple(f.origin for f in facts if f.origin is not None)


def _name(eye: Laterality) -> str:
    return "right eye" if eye is Laterality.R else "left eye"
