"""Visual fields: static perimetry measurements with everything that a perimeter may say about them."""

import datetime
from collections.abc import Sequence
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from airouter.domain import codes
from airouter.domain.code import Code
from phantoms.dicom.parts import NOW, Uids, acquired, code, coded, item, new_file, patient_and_study, series_module

OPV: Final = "1.2.840.10008.5.1.4.1.1.80.1"

# CID 4250 and CID 4251.
PATTERNS: Final = {
    "24-2": codes.PATTERN_24_2,
    "10-2": codes.PATTERN_10_2,
    "30-2": codes.PATTERN_30_2,
}
STRATEGIES: Final = {
    "SITA-Standard": Code("111815", "DCM", "Visual Field SITA-Standard Test Strategy"),
    "SITA-Fast": Code("111817", "DCM", "Visual Field SITA-Fast Test Strategy"),
    "Full Threshold": Code("111818", "DCM", "Visual Field Full Threshold Test Strategy"),
}

# Total deviation and its probability, pattern deviation and its probability (dB, %) of one point.
Deviations = tuple[float, float, float | None, float | None]


def field_instance(
    points: Sequence[tuple[float, float, float]] = (
        (-3.0, 3.0, 28.0),
        (3.0, 3.0, 30.0),
        (3.0, -3.0, 29.0),
        (-3.0, -3.0, 27.0),
    ),
    *,
    laterality: str | None = "R",
    pattern: str | None = "24-2",
    strategy: str | None = "SITA-Standard",
    manufacturer: str = "Phantom Works",
    model: str = "Phantom",
    when: datetime.datetime = NOW,
    birth_date: str = "19600101",
    age: str = "",
    duration_s: float = 300.0,
    minimum_db: float = 0.0,
    stimulus_deg2: float = 0.1503,
    fixation: tuple[int, int] | None = (1, 12),
    false_positives: tuple[int, int] | None = (0, 8),
    false_positive_percent: float | None = 1.0,
    false_negatives: tuple[int, int] | None = (0, 8),
    false_negative_percent: float | None = 0.0,
    excessive: Sequence[str] = (),
    deviations: Sequence[Deviations] | None = None,
    md: tuple[float, float | None] | None = None,
    psd: tuple[float, float | None] | None = None,
    vfi: tuple[float, float | None] | None = None,
    ght: Code | None = None,
    normals: tuple[str, str] = ("Phantom normals", "1"),
    blind_spot: tuple[float, float] | None = None,
    foveal_db: float | None = None,
    patient_id: str = "PHANTOM-OPV",
    patient_name: str = "Phantom^Field",
    study_uid: str | None = None,
    series_uid: str | None = None,
    accession: str = "",
    description: str = "",
    number: int = 1,
    seed: object = None,
) -> Dataset:
    """A static perimetry test: Ophthalmic Visual Field Static Perimetry Measurements, 24-2 by default.

    Args:
        points: (horizontal angle in degrees, vertical angle in degrees, sensitivity in dB) of each stimulus; below
            `minimum_db` it was not seen. Angles are the patient's: to the right and upwards positive.
        fixation, false_positives, false_negatives: (how often, of how many trials); None: not recorded.
        excessive: which of fixation, positives, negatives the device calls excessive.
        deviations: of every point from the normal of the age; the standard wants all or none.
        md, psd, vfi: (value, its probability in %) of global indices; md and psd come together.
    """
    uids = Uids(seed)
    ds = new_file(OPV, uids(), ExplicitVRLittleEndian)
    patient_and_study(ds, patient_id, patient_name, study_uid or uids(), accession)
    ds.PatientBirthDate = birth_date
    if age:
        ds.PatientAge = age
    series_module(ds, series_uid or uids(), "OPV", 3, number, description)
    ds.Manufacturer, ds.ManufacturerModelName = manufacturer, model
    if laterality:
        ds.MeasurementLaterality = laterality
    performed = [PATTERNS[pattern]] if pattern else []
    performed += [STRATEGIES[strategy]] if strategy else []
    if performed:
        ds.PerformedProtocolCodeSequence = [coded(each) for each in performed]
    acquired(ds)
    _dated(ds, when)
    ds.VisualFieldHorizontalExtent = 48.0
    ds.VisualFieldVerticalExtent = 48.0
    ds.VisualFieldShape = "CIRCLE"
    ds.MaximumStimulusLuminance = 3183.1
    ds.BackgroundLuminance = 10.0
    ds.StimulusColorCodeSequence = [code("371251000", "SCT", "White")]  # CID 4255
    ds.BackgroundIlluminationColorCodeSequence = [code("371251000", "SCT", "White")]
    ds.StimulusArea = stimulus_deg2
    ds.StimulusPresentationTime = 200.0
    eye = item(RefractiveParametersUsedOnPatientSequence=[], PupilSize=3.5, PupilDilated="NO", IntraOcularPressure=15.0)
    side = "Left" if laterality == "L" else "Right"
    setattr(ds, f"OphthalmicPatientClinicalInformation{side}EyeSequence", [eye])
    ds.FixationSequence = [_fixation(fixation, "fixation" in excessive)]
    ds.VisualFieldCatchTrialSequence = [
        _catch_trials(false_positives, false_positive_percent, false_negatives, false_negative_percent, excessive)
    ]
    ds.PresentedVisualStimuliDataFlag = "NO"
    ds.VisualFieldTestDuration = duration_s
    ds.MinimumSensitivityValue = minimum_db
    ds.FovealSensitivityMeasured = "NO" if foveal_db is None else "YES"
    if foveal_db is not None:
        ds.FovealSensitivity = foveal_db
    ds.BlindSpotLocalized = "NO" if blind_spot is None else "YES"
    if blind_spot is not None:
        ds.BlindSpotXCoordinate, ds.BlindSpotYCoordinate = blind_spot
    for keyword in (
        "FovealPointNormativeDataFlag",
        "ScreeningBaselineMeasured",
        "ShortTermFluctuationCalculated",
        "ShortTermFluctuationProbabilityCalculated",
        "CorrectedLocalizedDeviationFromNormalCalculated",
        "CorrectedLocalizedDeviationFromNormalProbabilityCalculated",
    ):
        setattr(ds, keyword, "NO")
    _test_points(ds, points, minimum_db, deviations, normals)
    _results(ds, md, psd, normals)
    indices = [_index(codes.VISUAL_FIELD_INDEX, vfi)] if vfi else []
    if ght is not None:
        said = item(ValueType="CODE", ConceptNameCodeSequence=[coded(codes.GHT)], ConceptCodeSequence=[coded(ght)])
        indices.append(item(DataObservationSequence=[said], IndexNormalsFlag="NO"))
    if indices:
        ds.VisualFieldGlobalResultsIndexSequence = indices
    return ds


def _dated(ds: Dataset, when: datetime.datetime) -> None:
    """Study, content and acquisition at one time."""
    date, time = when.strftime("%Y%m%d"), when.strftime("%H%M%S")
    ds.StudyDate, ds.StudyTime = date, time
    ds.ContentDate, ds.ContentTime = date, time
    ds.AcquisitionDateTime = date + time


def _fixation(losses: tuple[int, int] | None, excessive: bool) -> Dataset:
    monitoring = codes.BLIND_SPOT_MONITORING if losses else Code("111846", "DCM", "Observation by Examiner")  # CID 4253
    made = item(
        FixationMonitoringCodeSequence=[coded(monitoring)],
        ExcessiveFixationLossesDataFlag="YES" if excessive else "NO",
    )
    if losses:
        made.PatientNotProperlyFixatedQuantity, made.FixationCheckedQuantity = losses
    if excessive:
        made.ExcessiveFixationLosses = "YES"
    return made


def _catch_trials(
    positives: tuple[int, int] | None,
    positive_percent: float | None,
    negatives: tuple[int, int] | None,
    negative_percent: float | None,
    excessive: Sequence[str],
) -> Dataset:
    """Quantities go together: where one kind of trial was not counted, its number of trials is zero."""
    made = item(CatchTrialsDataFlag="YES" if positives or negatives else "NO")
    for kind, counted, percent in (
        ("Negative", negatives, negative_percent),
        ("Positive", positives, positive_percent),
    ):
        if positives or negatives:
            wrong, trials = counted or (0, 0)
            setattr(made, f"{kind}CatchTrialsQuantity", trials)
            setattr(made, f"False{kind}sQuantity", wrong)
        setattr(made, f"False{kind}sEstimateFlag", "NO" if percent is None else "YES")
        if percent is not None:
            setattr(made, f"False{kind}sEstimate", percent)
        too_many = f"{kind.lower()}s" in excessive
        setattr(made, f"ExcessiveFalse{kind}sDataFlag", "YES" if too_many else "NO")
        if too_many:
            setattr(made, f"ExcessiveFalse{kind}s", "YES")
    return made


def _algorithm(**attributes: object) -> Dataset:
    """The macro of an algorithm, with what it gave."""
    return item(
        **attributes,
        AlgorithmFamilyCodeSequence=[code("123109", "DCM", "Manual Processing")],
        AlgorithmName="Phantom deviation",
        AlgorithmVersion="1",
    )


def _data_set(normals: tuple[str, str]) -> dict[str, str]:
    name, version = normals
    return {"DataSetName": name, "DataSetVersion": version, "DataSetSource": "Phantom Works"}


def _test_points(
    ds: Dataset,
    points: Sequence[tuple[float, float, float]],
    minimum_db: float,
    deviations: Sequence[Deviations] | None,
    normals: tuple[str, str],
) -> None:
    ds.TestPointNormalsDataFlag = "NO" if deviations is None else "YES"
    if deviations is not None:
        ds.TestPointNormalsSequence = [item(**_data_set(normals))]
        ds.AgeCorrectedSensitivityDeviationAlgorithmSequence = [_algorithm()]
        ds.GeneralizedDefectSensitivityDeviationAlgorithmSequence = [_algorithm()]
    made = []
    said: Sequence[Deviations | None] = deviations if deviations is not None else [None] * len(points)
    for (x, y, db), deviation in zip(points, said, strict=True):
        point = item(
            VisualFieldTestPointXCoordinate=x,
            VisualFieldTestPointYCoordinate=y,
            StimulusResults="SEEN" if db >= minimum_db else "NOT SEEN",
            SensitivityValue=db,
            RetestStimulusSeen="NO",
        )
        if deviation is not None:
            total, total_p, pattern, pattern_p = deviation
            normal = item(
                AgeCorrectedSensitivityDeviationValue=total,
                AgeCorrectedSensitivityDeviationProbabilityValue=total_p,
                GeneralizedDefectCorrectedSensitivityDeviationFlag="NO" if pattern is None else "YES",
            )
            if pattern is not None:
                normal.GeneralizedDefectCorrectedSensitivityDeviationValue = pattern
                normal.GeneralizedDefectCorrectedSensitivityDeviationProbabilityValue = pattern_p
            point.VisualFieldTestPointNormalsSequence = [normal]
        made.append(point)
    ds.VisualFieldTestPointSequence = made


def _results(
    ds: Dataset,
    md: tuple[float, float | None] | None,
    psd: tuple[float, float | None] | None,
    normals: tuple[str, str],
) -> None:
    ds.VisualFieldTestNormalsFlag = "NO" if md is None or psd is None else "YES"
    if md is None or psd is None:
        return
    results = item(
        **_data_set(normals),
        GlobalDeviationFromNormal=md[0],
        LocalizedDeviationFromNormal=psd[0],
        GlobalDeviationProbabilityNormalsFlag="NO" if md[1] is None else "YES",
        LocalDeviationProbabilityNormalsFlag="NO" if psd[1] is None else "YES",
    )
    if md[1] is not None:
        results.GlobalDeviationProbabilitySequence = [_algorithm(GlobalDeviationProbability=md[1])]
    if psd[1] is not None:
        results.LocalizedDeviationProbabilitySequence = [_algorithm(LocalizedDeviationProbability=psd[1])]
    ds.ResultsNormalsSequence = [results]


def _index(name: Code, value: tuple[float, float | None]) -> Dataset:
    """A global index that is a number, in per cent."""
    number = item(
        ValueType="NUMERIC",
        ConceptNameCodeSequence=[coded(name)],
        MeasurementUnitsCodeSequence=[coded(codes.PERCENT)],
        NumericValue=str(value[0]),
    )
    made = item(DataObservationSequence=[number], IndexNormalsFlag="NO" if value[1] is None else "YES")
    if value[1] is not None:
        made.IndexProbabilitySequence = [_algorithm(IndexProbability=value[1])]
    return made
