"""Visual fields: static perimetry measurements."""

from collections.abc import Sequence
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from phantoms.dicom.parts import Uids, acquired, code, item, new_file, patient_and_study, series_module

OPV: Final = "1.2.840.10008.5.1.4.1.1.80.1"


def field_instance(
    points: Sequence[tuple[float, float, float]] = (
        (-3.0, 3.0, 28.0),
        (3.0, 3.0, 30.0),
        (3.0, -3.0, 29.0),
        (-3.0, -3.0, 27.0),
    ),
    *,
    laterality: str = "R",
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
        points: (horizontal angle in degrees, vertical angle in degrees, sensitivity in dB) of each stimulus.
    """
    uids = Uids(seed)
    ds = new_file(OPV, uids(), ExplicitVRLittleEndian)
    patient_and_study(ds, patient_id, patient_name, study_uid or uids(), accession)
    series_module(ds, series_uid or uids(), "OPV", 3, number, description)
    ds.MeasurementLaterality = laterality
    ds.PerformedProtocolCodeSequence = [code("111801", "DCM", "Visual Field 24-2 Test Pattern")]  # CID 4250
    acquired(ds)
    ds.VisualFieldHorizontalExtent = 48.0
    ds.VisualFieldVerticalExtent = 48.0
    ds.VisualFieldShape = "CIRCLE"
    ds.MaximumStimulusLuminance = 3183.1
    ds.BackgroundLuminance = 10.0
    ds.StimulusColorCodeSequence = [code("371251000", "SCT", "White")]  # CID 4255
    ds.BackgroundIlluminationColorCodeSequence = [code("371251000", "SCT", "White")]
    ds.StimulusArea = 0.1503
    ds.StimulusPresentationTime = 200.0
    eye = item(RefractiveParametersUsedOnPatientSequence=[], PupilSize=3.5, PupilDilated="NO", IntraOcularPressure=15.0)
    side = "Left" if laterality == "L" else "Right"
    setattr(ds, f"OphthalmicPatientClinicalInformation{side}EyeSequence", [eye])
    ds.FixationSequence = [
        item(
            FixationMonitoringCodeSequence=[code("111844", "DCM", "Blind Spot Monitoring")],  # CID 4253
            FixationCheckedQuantity=12,
            PatientNotProperlyFixatedQuantity=1,
            ExcessiveFixationLossesDataFlag="NO",
        )
    ]
    ds.VisualFieldCatchTrialSequence = [
        item(
            CatchTrialsDataFlag="YES",
            NegativeCatchTrialsQuantity=8,
            FalseNegativesQuantity=0,
            FalseNegativesEstimateFlag="YES",
            FalseNegativesEstimate=0.0,
            ExcessiveFalseNegativesDataFlag="NO",
            PositiveCatchTrialsQuantity=8,
            FalsePositivesQuantity=0,
            FalsePositivesEstimateFlag="YES",
            FalsePositivesEstimate=1.0,
            ExcessiveFalsePositivesDataFlag="NO",
        )
    ]
    ds.PresentedVisualStimuliDataFlag = "NO"
    ds.VisualFieldTestDuration = 300.0
    ds.MinimumSensitivityValue = 0.0
    for keyword in (
        "FovealSensitivityMeasured",
        "FovealPointNormativeDataFlag",
        "ScreeningBaselineMeasured",
        "BlindSpotLocalized",
        "TestPointNormalsDataFlag",
        "VisualFieldTestNormalsFlag",
        "ShortTermFluctuationCalculated",
        "ShortTermFluctuationProbabilityCalculated",
        "CorrectedLocalizedDeviationFromNormalCalculated",
        "CorrectedLocalizedDeviationFromNormalProbabilityCalculated",
    ):
        setattr(ds, keyword, "NO")
    ds.VisualFieldTestPointSequence = [
        item(
            VisualFieldTestPointXCoordinate=x,
            VisualFieldTestPointYCoordinate=y,
            StimulusResults="SEEN" if db >= 0 else "NOT SEEN",
            SensitivityValue=db,
            RetestStimulusSeen="NO",
        )
        for x, y, db in points
    ]
    return ds
