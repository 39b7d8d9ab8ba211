"""The one table of coded concepts: no other module writes a code value.

Each group names where its values were verified: pydicom 3.0.2's concepts dictionary (PS3.16), PS3.16 2026 (context
group given), or the LOINC value sets of the HL7 guides. What none of them has stands at the end in the private scheme
99ORTAI with its definition, until a licensed SNOMED CT or LOINC look-up gives a public code. tests/unit/test_codes.py
compares the table with pydicom and refuses duplicates. Meanings are at most 64 characters (LO), so long LOINC names are
shortened to the names PS3.16 uses.
"""

from collections.abc import Mapping
from typing import Final

from airouter.domain.code import Code
from airouter.domain.priority import Priority
from airouter.domain.study import Laterality

# --- DCM (PS3.16 Annex D), in pydicom's dictionary ---

ARTIFICIAL_INTELLIGENCE: Final = Code("123110", "DCM", "Artificial Intelligence")  # CID 7162, algorithm family
PROCESSING_EQUIPMENT: Final = Code("109102", "DCM", "Processing Equipment")  # CID 7005
DIAGNOSTIC_IMAGING_REPORT: Final = Code("18748-4", "LN", "Diagnostic Imaging Report")
IMAGING_MEASUREMENT_REPORT: Final = Code("126000", "DCM", "Imaging Measurement Report")  # CID 7021
ONCOLOGY_MEASUREMENT_REPORT: Final = Code("126001", "DCM", "Oncology Measurement Report")  # CID 7021
SEGMENTATION: Final = Code("113076", "DCM", "Segmentation")  # CID 7203
SOURCE_OF_MEASUREMENT: Final = Code("121112", "DCM", "Source of Measurement")
SOURCE_FOR_PROCESSING: Final = Code("121322", "DCM", "Source image for image processing operation")
COMMENT: Final = Code("121106", "DCM", "Comment")
FINDING: Final = Code("121071", "DCM", "Finding")
IMAGE_REGION: Final = Code("111030", "DCM", "Image Region")
CERTAINTY_OF_FINDING: Final = Code("111012", "DCM", "Certainty of Finding")
PROBABILITY: Final = Code("122157", "DCM", "Probability")
PROBABILITY_OF_CANCER: Final = Code("111047", "DCM", "Probability of cancer")
QUALITY_ASSESSMENT: Final = Code("111050", "DCM", "Quality Assessment")
QUALITY_FINDING: Final = Code("111052", "DCM", "Quality Finding")
QUALITY_RATING: Final = Code("111029", "DCM", "Image Quality Rating")  # 0 (worst) to 100 (best)
ANALYSIS_QUALITY_RATING: Final = Code("111693", "DCM", "Analysis Quality Rating")
IMAGE_SET_QUALITY_RATING: Final = Code("111694", "DCM", "Image Set Quality Rating")
RECOMMENDED_FOLLOW_UP: Final = Code("111053", "DCM", "Recommended Follow-up")
DISTANCE: Final = Code("121206", "DCM", "Distance")
FRAME_OF_REFERENCE_IDENTITY: Final = Code("125021", "DCM", "Frame of Reference Identity")  # CID 7100
IMAGE_CONTENT_BASED_ALIGNMENT: Final = Code("125024", "DCM", "Image Content-based Alignment")  # CID 7100
DERIVATION: Final = Code("121401", "DCM", "Derivation")
CLASS_ACTIVATION: Final = Code("130402", "DCM", "Class activation")  # CID 217
GRAD_CAM: Final = Code("130403", "DCM", "Gradient-weighted class activation")  # CID 217
SALIENCY: Final = Code("130404", "DCM", "Saliency")  # CID 217
SLIDE_MICROSCOPY: Final = Code("112702", "DCM", "Slide Microscopy")
BACKGROUND: Final = Code("125040", "DCM", "Background")  # CID 7165
ALL_SUCCEEDED_WITH_FINDINGS: Final = Code("111242", "DCM", "All algorithms succeeded; with findings")
ALL_SUCCEEDED_WITHOUT_FINDINGS: Final = Code("111241", "DCM", "All algorithms succeeded; without findings")
NOT_ALL_SUCCEEDED_WITH_FINDINGS: Final = Code("111244", "DCM", "Not all algorithms succeeded; with findings")
NOT_ALL_SUCCEEDED_WITHOUT_FINDINGS: Final = Code("111243", "DCM", "Not all algorithms succeeded; without findings")
NONE_SUCCEEDED: Final = Code("111245", "DCM", "No algorithms succeeded; without findings")

# Audit messages (PS3.15 A.5.3): events (CID 400), their types (CID 401), roles (CID 402), identifiers (CID 404).
APPLICATION_ACTIVITY: Final = Code("110100", "DCM", "Application Activity")
AUDIT_LOG_USED: Final = Code("110101", "DCM", "Audit Log Used")
INSTANCES_ACCESSED: Final = Code("110103", "DCM", "DICOM Instances Accessed")
SECURITY_ALERT: Final = Code("110113", "DCM", "Security Alert")
APPLICATION_START: Final = Code("110120", "DCM", "Application Start")
APPLICATION_STOP: Final = Code("110121", "DCM", "Application Stop")
SOFTWARE_CONFIGURATION: Final = Code("110131", "DCM", "Software Configuration")
RESTRICTED_FUNCTION: Final = Code("110132", "DCM", "Use of Restricted Function")
APPLICATION: Final = Code("110150", "DCM", "Application")
STUDY_INSTANCE_UID: Final = Code("110180", "DCM", "Study Instance UID")

# Review: titles of key object selections (CID 7010), purposes of a predecessor (CID 7009), observers (CID 270).
REJECTED: Final = Code("113001", "DCM", "Rejected for Quality Reasons")
DOCUMENT_TITLE_MODIFIER: Final = Code("113011", "DCM", "Document Title Modifier")
REPLACED_REPORT: Final = Code("121360", "DCM", "Replaced report")
PRELIMINARY_REPORT: Final = Code("121362", "DCM", "Preliminary report")
PERSON: Final = Code("121006", "DCM", "Person")
DEVICE: Final = Code("121007", "DCM", "Device")

# How a slide was lit (CID 8123).
TRANSMISSION_ILLUMINATION: Final = Code("111741", "DCM", "Transmission illumination")
REFLECTION_ILLUMINATION: Final = Code("111742", "DCM", "Reflection illumination")
EPIFLUORESCENCE_ILLUMINATION: Final = Code("111743", "DCM", "Epifluorescence illumination")
BRIGHTFIELD_ILLUMINATION: Final = Code("111744", "DCM", "Brightfield illumination")
DARKFIELD_ILLUMINATION: Final = Code("111745", "DCM", "Darkfield illumination")
OBLIQUE_ILLUMINATION: Final = Code("111746", "DCM", "Oblique illumination")
PHASE_CONTRAST_ILLUMINATION: Final = Code("111747", "DCM", "Phase contrast illumination")
DIFFERENTIAL_INTERFERENCE_CONTRAST: Final = Code("111748", "DCM", "Differential interference contrast")
TOTAL_INTERNAL_REFLECTION_FLUORESCENCE: Final = Code("111749", "DCM", "Total internal reflection fluorescence")

# Static perimetry: test pattern (CID 4250), fixation (CID 4253), global indices (CID 4257), analysis result (CID 4254).
PATTERN_24_2: Final = Code("111800", "DCM", "Visual Field 24-2 Test Pattern")
PATTERN_10_2: Final = Code("111801", "DCM", "Visual Field 10-2 Test Pattern")
PATTERN_30_2: Final = Code("111802", "DCM", "Visual Field 30-2 Test Pattern")
BLIND_SPOT_MONITORING: Final = Code("111844", "DCM", "Blind Spot Monitoring")
VISUAL_FIELD_INDEX: Final = Code("111852", "DCM", "Visual Field Index")
GHT: Final = Code("111855", "DCM", "Glaucoma Hemifield Test Analysis")
OUTSIDE_NORMAL_LIMITS: Final = Code("111847", "DCM", "Outside normal limits")
BORDERLINE: Final = Code("111848", "DCM", "Borderline")
ABNORMALLY_HIGH_SENSITIVITY: Final = Code("111849", "DCM", "Abnormally high sensitivity")
GENERAL_REDUCTION: Final = Code("111850", "DCM", "General reduction in sensitivity")
BORDERLINE_AND_REDUCTION: Final = Code("111851", "DCM", "Borderline and general reduction in sensitivity")
WITHIN_NORMAL_LIMITS: Final = Code("125112009", "SCT", "Within normal limits")
# The whole of CID 4250 and CID 4251, by value.
VISUAL_FIELD_PATTERNS: Final = frozenset(str(n) for n in range(111800, 111815))
VISUAL_FIELD_STRATEGIES: Final = frozenset(str(n) for n in range(111815, 111838))

# Definition of a thickness and retinal surfaces (CID 4262, 4273).
RNFL_THICKNESS: Final = Code("111925", "DCM", "Retinal nerve fiber layer thickness")
GCC_THICKNESS: Final = Code("111926", "DCM", "Ganglion cell complex thickness")
RETINAL_THICKNESS_ILM_ISOS: Final = Code("111927", "DCM", "Total retinal thickness (ILM to IS-OS)")
RETINAL_THICKNESS_ILM_RPE: Final = Code("111928", "DCM", "Total retinal thickness (ILM to RPE)")
RETINAL_THICKNESS_ILM_BM: Final = Code("111929", "DCM", "Total retinal thickness (ILM to BM)")
RNFL_OUTER_SURFACE: Final = Code("128289", "DCM", "Outer surface of RNFL")
# 128297 and 128299 are named "Anterior" and "Posterior surface of the RPE" in editions before 2026.
RPE_INNER_SURFACE: Final = Code("128297", "DCM", "Inner surface of the RPE")
RPE_CENTRE_SURFACE: Final = Code("128298", "DCM", "Surface of the center of the RPE")
RPE_OUTER_SURFACE: Final = Code("128299", "DCM", "Outer surface of the RPE")

# Ophthalmic thickness maps (CID 4263).
ABSOLUTE_THICKNESS: Final = Code("111930", "DCM", "Absolute ophthalmic thickness")

# --- DCM added in 2025 and 2026, not yet in pydicom (PS3.16 2026, CID 4285 and CID 7164) ---

AVERAGE_THICKNESS: Final = Code("131255", "DCM", "Average macular thickness")
REJECTION_WITHDRAWN: Final = Code("131360", "DCM", "Rejection Withdrawn")  # CID 7010
# Static perimetry (CID 4280 and the root 131240): names and definitions of PS3.16 2026.
MEAN_DEVIATION: Final = Code("131248", "DCM", "Visual Field Global Deviation from Normal")
PATTERN_STANDARD_DEVIATION: Final = Code("131249", "DCM", "Visual Field Localized Deviation From Normal")
FALSE_POSITIVE_RATIO: Final = Code("131250", "DCM", "Fixation false positive ratio")
FALSE_POSITIVE_PERCENT: Final = Code("131251", "DCM", "Fixation false positive percent")
FALSE_NEGATIVE_RATIO: Final = Code("131252", "DCM", "Fixation false negative ratio")
FALSE_NEGATIVE_PERCENT: Final = Code("131253", "DCM", "Fixation false negative percent")
FIXATION_LOSS_RATIO: Final = Code("131254", "DCM", "Fixation losses ratio")
USABLE_TISSUE: Final = Code("131501", "DCM", "Usable tissue")
UNUSABLE_TISSUE: Final = Code("131502", "DCM", "Unusable tissue")
IN_FOCUS: Final = Code("131503", "DCM", "In focus")
OUT_OF_FOCUS: Final = Code("131504", "DCM", "Out of focus")
COVER_SLIP_DEFECT: Final = Code("131505", "DCM", "Cover slip defect")
FOLDED_TISSUE: Final = Code("131506", "DCM", "Folded tissue")
ADEQUATELY_STAINED: Final = Code("131507", "DCM", "Adequately stained")
INADEQUATELY_STAINED: Final = Code("131508", "DCM", "Inadequately stained")
COVERSLIP_EDGE: Final = Code("131510", "DCM", "Coverslip edge")
SLIDE_MARKING: Final = Code("131511", "DCM", "Slide marking")
STITCHING: Final = Code("131512", "DCM", "Stitching")
STRIPES: Final = Code("131513", "DCM", "Stripes")
FOREIGN_MATERIAL: Final = Code("131514", "DCM", "Foreign material")
SCRATCH: Final = Code("131515", "DCM", "Scratch")
TISSUE_MARKING: Final = Code("131516", "DCM", "Tissue marking")

# --- DCM added in 2025, not yet in pydicom: circumpapillary RNFL (CID 4283, CID 4284), ganglion cells (CID 4286 to ---
# --- CID 4288), atrophy (CID 4291). Clock face positions run clockwise in the right eye and the other way round in ---
# --- the left, seen from the front, so position 3 is nasal. CID 4284 prints the name of position 8 for 131284, too ---

RNFL_AVERAGE: Final = Code("131264", "DCM", "RNFL average thickness")
RNFL_INFERIOR: Final = Code("131265", "DCM", "RNFL inferior sector thickness")
RNFL_SUPERIOR: Final = Code("131266", "DCM", "RNFL superior sector thickness")
RNFL_TEMPORAL: Final = Code("131267", "DCM", "RNFL temporal sector thickness")
RNFL_NASAL: Final = Code("131268", "DCM", "RNFL nasal sector thickness")
RNFL_NASAL_SUPERIOR: Final = Code("131269", "DCM", "RNFL nasal-superior sector thickness")
RNFL_NASAL_INFERIOR: Final = Code("131270", "DCM", "RNFL nasal-inferior sector thickness")
RNFL_TEMPORAL_INFERIOR: Final = Code("131271", "DCM", "RNFL temporal-inferior sector thickness")
RNFL_TEMPORAL_SUPERIOR: Final = Code("131272", "DCM", "RNFL temporal-superior sector thickness")
RETINAL_ROI_WIDTH: Final = Code("131274", "DCM", "Retinal ROI width")
RETINAL_ROI_HEIGHT: Final = Code("131275", "DCM", "Retinal ROI height")
QUADRANT_SECTORS: Final = Code("131302", "DCM", "Quadrant sectors")  # CID 4282
GARWAY_HEATH_SECTORS: Final = Code("131305", "DCM", "Garway-Heath sectors")  # CID 4282
RNFL_CLOCK_1: Final = Code("131276", "DCM", "RNFL clockface position 1 thickness")
RNFL_CLOCK_2: Final = Code("131277", "DCM", "RNFL clockface position 2 thickness")
RNFL_CLOCK_3: Final = Code("131278", "DCM", "RNFL clockface position 3 thickness")
RNFL_CLOCK_4: Final = Code("131279", "DCM", "RNFL clockface position 4 thickness")
RNFL_CLOCK_5: Final = Code("131280", "DCM", "RNFL clockface position 5 thickness")
RNFL_CLOCK_6: Final = Code("131281", "DCM", "RNFL clockface position 6 thickness")
RNFL_CLOCK_7: Final = Code("131282", "DCM", "RNFL clockface position 7 thickness")
RNFL_CLOCK_8: Final = Code("131283", "DCM", "RNFL clockface position 8 thickness")
RNFL_CLOCK_9: Final = Code("131284", "DCM", "RNFL clockface position 9 thickness")
RNFL_CLOCK_10: Final = Code("131285", "DCM", "RNFL clockface position 10 thickness")
RNFL_CLOCK_11: Final = Code("131286", "DCM", "RNFL clockface position 11 thickness")
RNFL_CLOCK_12: Final = Code("131287", "DCM", "RNFL clockface position 12 thickness")
GC_AVERAGE: Final = Code("131288", "DCM", "Average ganglion cell thickness")
GC_MINIMUM: Final = Code("131289", "DCM", "Minimum ganglion cell thickness")
GC_SUPERIOR: Final = Code("131290", "DCM", "Average ganglion cell thickness superior sector")
GC_NASAL_SUPERIOR: Final = Code("131291", "DCM", "Average ganglion cell thickness nasal-superior sector")
GC_NASAL_INFERIOR: Final = Code("131293", "DCM", "Average ganglion cell thickness nasal-inferior sector")
GC_INFERIOR: Final = Code("131294", "DCM", "Average ganglion cell thickness inferior sector")
GC_TEMPORAL_INFERIOR: Final = Code("131295", "DCM", "Average ganglion cell thickness temporal-inferior sector")
GC_TEMPORAL_SUPERIOR: Final = Code("131297", "DCM", "Average ganglion cell thickness temporal-superior sector")
GC_IPL_LAYERS: Final = Code("131299", "DCM", "Ganglion cell and inner plexiform layers")
GANGLION_CELL_COMPLEX: Final = Code("131300", "DCM", "Ganglion cell complex")
ATROPHY_AREA: Final = Code("131310", "DCM", "Geographic atrophy area")

RNFL_CLOCK: Final = (
    RNFL_CLOCK_1, RNFL_CLOCK_2, RNFL_CLOCK_3, RNFL_CLOCK_4, RNFL_CLOCK_5, RNFL_CLOCK_6,
    RNFL_CLOCK_7, RNFL_CLOCK_8, RNFL_CLOCK_9, RNFL_CLOCK_10, RNFL_CLOCK_11, RNFL_CLOCK_12,
)  # fmt: skip

# --- SNOMED CT, in pydicom's dictionary (names after PS3.16) ---

ANATOMICAL_STRUCTURE: Final = Code("91723000", "SCT", "Anatomical Structure")  # CID 7150
MORPHOLOGICALLY_ABNORMAL_STRUCTURE: Final = Code("49755003", "SCT", "Morphologically Abnormal Structure")  # CID 7150
TISSUE: Final = Code("85756007", "SCT", "Tissue")  # CID 7150 and CID 7165
BODY_SUBSTANCE: Final = Code("91720002", "SCT", "Body Substance")  # CID 7150
SUBSTANCE: Final = Code("105590001", "SCT", "Substance")  # CID 7150
SPATIAL_CONCEPT: Final = Code("309825002", "SCT", "Spatial and Relational Concept")  # CID 7150
CELL: Final = Code("4421005", "SCT", "Cell")  # CID 8135
NUCLEUS: Final = Code("84640000", "SCT", "Nucleus")  # CID 8135
NEOPLASM: Final = Code("108369006", "SCT", "Neoplasm")
CONNECTIVE_TISSUE: Final = Code("21793004", "SCT", "Connective tissue")
NECROSIS: Final = Code("6574001", "SCT", "Necrosis")
BREAST: Final = Code("76752008", "SCT", "Breast")
AREA: Final = Code("42798000", "SCT", "Area")
VOLUME: Final = Code("118565006", "SCT", "Volume")
LENGTH: Final = Code("410668003", "SCT", "Length")
LONG_AXIS: Final = Code("103339001", "SCT", "Long axis")  # CID 7469
LYMPH_NODE: Final = Code("59441001", "SCT", "Lymph node")  # CID 7600
MARGIN_STATUS: Final = Code("372249001", "SCT", "Tumor margin status")
SURGICAL_MARGIN: Final = Code("396631001", "SCT", "Surgical margin observable")
EYE: Final = Code("81745001", "SCT", "Eye")
RETINA: Final = Code("5665001", "SCT", "Retina")
FOVEA: Final = Code("67046006", "SCT", "Fovea centralis")
OPTIC_DISC: Final = Code("81016008", "SCT", "Optic nerve head")  # name after CID 4209
ILM: Final = Code("280677004", "SCT", "ILM - Internal limiting membrane")  # CID 4273
ELM: Final = Code("76710003", "SCT", "ELM - External limiting membrane")  # CID 4273
CHOROID: Final = Code("68703001", "SCT", "Choroid of eye")  # CID 4209
FLUID: Final = Code("32457005", "SCT", "Body fluid")
EDEMA: Final = Code("79654002", "SCT", "Edema")
HAEMORRHAGE: Final = Code("50960005", "SCT", "Bleeding")
RIGHT: Final = Code("24028007", "SCT", "Right")  # CID 244
LEFT: Final = Code("7771000", "SCT", "Left")  # CID 244
BILATERAL: Final = Code("51440002", "SCT", "Bilateral")  # CID 244
PRESENT: Final = Code("52101004", "SCT", "Present")  # CID 240
ABSENT: Final = Code("272519000", "SCT", "Absent")  # CID 240
UNDETERMINED: Final = Code("373068000", "SCT", "Undetermined")  # CID 240
POSITIVE: Final = Code("10828004", "SCT", "Positive")  # CID 250
NEGATIVE: Final = Code("260385009", "SCT", "Negative")  # CID 250
YES: Final = Code("373066001", "SCT", "Yes")
NO: Final = Code("373067005", "SCT", "No")
NOTTINGHAM_1: Final = Code("369790002", "SCT", "Nottingham Combined Grade I: 3-5 points")  # CID 6069
NOTTINGHAM_2: Final = Code("369791003", "SCT", "Nottingham Combined Grade II: 6-7 points")  # CID 6069
NOTTINGHAM_3: Final = Code("369792005", "SCT", "Nottingham Combined Grade III: 8-9 points")  # CID 6069
AUTOMATED: Final = Code("8359006", "SCT", "Automated")
MANUAL: Final = Code("87982008", "SCT", "Manual")
# The only Procedure Reported that the report validator takes for TID 1500 (CID 100); the modality stands in the group.
IMAGING_PROCEDURE: Final = Code("363679005", "SCT", "Imaging procedure")

# Devices that photograph something else than the fundus (CID 4202).
SLIT_LAMP: Final = Code("397247004", "SCT", "Slit Lamp Biomicroscope")
EXTERNAL_CAMERA: Final = Code("409903006", "SCT", "External Camera")
SPECULAR_MICROSCOPE: Final = Code("409899004", "SCT", "Specular Microscope")
OPERATING_MICROSCOPE: Final = Code("102321001", "SCT", "Operating Microscope")
KERATOSCOPE: Final = Code("397522002", "SCT", "Keratoscope")
PUPILLOGRAPH: Final = Code("420827006", "SCT", "Pupillograph")
OPHTHALMIC_ENDOSCOPE: Final = Code("409902001", "SCT", "Ophthalmic Endoscope")

# --- SNOMED CT, in PS3.16 2026 but not in pydicom ---

QUALITY: Final = Code("263496004", "SCT", "Quality")  # CID 7150
AIR_BUBBLE: Final = Code("56117007", "SCT", "Air bubble")  # CID 7164
SLIDE: Final = Code("1179252003", "SCT", "Slide")
LYMPHOCYTE: Final = Code("56972008", "SCT", "Lymphocyte")  # annotations of NCI's Imaging Data Commons

# --- SNOMED CT, eye: in the SNOMED table of OpenEyes (AppertaFoundation/openeyes), not in pydicom ---

RETINAL_DETACHMENT: Final = Code("42059000", "SCT", "Retinal detachment")
VITREOUS_HAEMORRHAGE: Final = Code("31341008", "SCT", "Vitreous hemorrhage")
DRUSEN: Final = Code("30523006", "SCT", "Degenerative drusen")

# --- SNOMED CT, diabetic eye disease: in the same table and in the value sets of eCQM CMS131 and CMS142 ---

DIABETIC_RETINOPATHY: Final = Code("4855003", "SCT", "Diabetic retinopathy")
DIABETIC_MACULAR_OEDEMA: Final = Code("312912001", "SCT", "Diabetic macular edema")
RETINAL_HAEMORRHAGE: Final = Code("28998008", "SCT", "Retinal hemorrhage")

# --- How a specimen was stained (TID 8001, TID 8003), read from slides, written to imported ones; in pydicom's ---
# --- dictionary ---

SPECIMEN_IDENTIFIER: Final = Code("121041", "DCM", "Specimen Identifier")  # TID 8001
PROCESSING_TYPE: Final = Code("111701", "DCM", "Processing type")  # TID 8001
PROCESSING_STEP_DESCRIPTION: Final = Code("111703", "DCM", "Processing step description")  # TID 8001
USING_SUBSTANCE: Final = Code("424361007", "SCT", "Using substance")  # TID 8003
STAINING: Final = Code("127790008", "SCT", "Staining")  # CID 8111
HEMATOXYLIN: Final = Code("12710003", "SCT", "hematoxylin stain")  # CID 8112
WATER_SOLUBLE_EOSIN: Final = Code("36879007", "SCT", "water soluble eosin stain")  # CID 8112
SPIRIT_SOLUBLE_EOSIN: Final = Code("83600004", "SCT", "spirit soluble eosin stain")  # CID 8112
BLUE_SHADE_EOSIN: Final = Code("1346008", "SCT", "blue shade eosin stain")  # CID 8112
H_AND_E_METHOD: Final = Code("104210008", "SCT", "Hematoxylin and eosin stain method")  # CID 8130
IMMUNOHISTOCHEMISTRY: Final = Code("117617002", "SCT", "Immunohistochemistry")  # CID 8131

# --- LOINC: Ki-67 (HL7 US breast cancer guide); macular grid (PS3.16 CID 4285, HL7 eye care guide) ---

KI67_INDEX: Final = Code("29593-1", "LN", "Cells.Ki-67 nuclear Ag/100 cells in Tissue by Immune stain")
CENTRE_POINT_THICKNESS: Final = Code("57108-3", "LN", "Macular Grid.Center Point Thickness")
CST: Final = Code("57109-1", "LN", "Macular Grid.Center Subfield Thickness")
ETDRS_INNER_SUPERIOR: Final = Code("57110-9", "LN", "Macular Grid.Inner Superior Subfield Thickness")
ETDRS_INNER_NASAL: Final = Code("57111-7", "LN", "Macular Grid.Inner Nasal Subfield Thickness")
ETDRS_INNER_INFERIOR: Final = Code("57112-5", "LN", "Macular Grid.Inner Inferior Subfield Thickness")
ETDRS_INNER_TEMPORAL: Final = Code("57113-3", "LN", "Macular Grid.Inner Temporal Subfield Thickness")
ETDRS_OUTER_SUPERIOR: Final = Code("57114-1", "LN", "Macular Grid.Outer Superior Subfield Thickness")
ETDRS_OUTER_NASAL: Final = Code("57115-8", "LN", "Macular Grid.Outer Nasal Subfield Thickness")
ETDRS_OUTER_INFERIOR: Final = Code("57116-6", "LN", "Macular Grid.Outer Inferior Subfield Thickness")
ETDRS_OUTER_TEMPORAL: Final = Code("57117-4", "LN", "Macular Grid.Outer Temporal Subfield Thickness")
TOTAL_VOLUME: Final = Code("57118-2", "LN", "Macular Grid.Total Volume")

# The nine fields of the grid, centre first, then inner and outer ring.
ETDRS_FIELDS: Final[Mapping[str, Code]] = {
    "centre": CST,
    "inner superior": ETDRS_INNER_SUPERIOR,
    "inner nasal": ETDRS_INNER_NASAL,
    "inner inferior": ETDRS_INNER_INFERIOR,
    "inner temporal": ETDRS_INNER_TEMPORAL,
    "outer superior": ETDRS_OUTER_SUPERIOR,
    "outer nasal": ETDRS_OUTER_NASAL,
    "outer inferior": ETDRS_OUTER_INFERIOR,
    "outer temporal": ETDRS_OUTER_TEMPORAL,
}

# --- LOINC: HER2 (HL7 US breast cancer guide), ER and PR (HL7 mCODE guide; percentages: registry guide CH CRL of ---
# --- HL7 Switzerland), PD-L1 (LOINC, mCODE guide) ---

ER_INDEX: Final = Code("85329-1", "LN", "Cells.ER/100 cells in Breast cancer specimen by Immune stain")
PR_INDEX: Final = Code("85325-9", "LN", "Cells.PR/100 cells in Breast cancer specimen by Immune stain")
ER_STATUS: Final = Code("85337-4", "LN", "ER Ag [Presence] in Breast cancer specimen by Immune stain")
PR_STATUS: Final = Code("85339-0", "LN", "PR Ag [Presence] in Breast cancer specimen by Immune stain")
HER2_SCORE: Final = Code("85319-2", "LN", "HER2 [Presence] in Breast cancer specimen by Immune stain")
# "Cells.HER2 uniform intense membrane staining/cells in Breast cancer specimen by Immune stain": the cells of 3+.
HER2_INTENSE: Final = Code("85328-3", "LN", "Cells.HER2 uniform intense membrane staining/100 cells")
PD_L1_TPS: Final = Code("83053-9", "LN", "Cells.PD-L1/100 viable tumor cells in Tissue by Immune stain")

# --- LOINC: Nottingham grade and its components (HL7 US breast cancer guide, pathology module of the German Medical ---
# --- Informatics Initiative) ---

NOTTINGHAM_GRADE: Final = Code("44648-4", "LN", "Histologic grade [Score] in Breast cancer specimen by Nottingham")
TUBULE_SCORE: Final = Code("85321-8", "LN", "Glandular differentiation [Score] in Breast cancer by Nottingham")
PLEOMORPHISM_SCORE: Final = Code("44645-0", "LN", "Nuclear pleomorphism in Breast tumor by Nottingham")
MITOSIS_SCORE: Final = Code("85300-2", "LN", "Mitotic rate [Score] in Breast cancer specimen by Nottingham")

# --- LOINC: severity of diabetic retinopathy (value sets of eCQM CMS131 and CMS142) and its answers, LL2117-1 ---

DR_SEVERITY_RIGHT: Final = Code("71491-5", "LN", "Right eye Diabetic retinopathy severity level")
DR_SEVERITY_LEFT: Final = Code("71490-7", "LN", "Left eye Diabetic retinopathy severity level")
DR_NONE: Final = Code("LA18643-9", "LN", "No apparent retinopathy")
DR_MILD: Final = Code("LA18644-7", "LN", "Mild non-proliferative retinopathy")
DR_MODERATE: Final = Code("LA18645-4", "LN", "Moderate non-proliferative retinopathy")
DR_SEVERE: Final = Code("LA18646-2", "LN", "Severe non-proliferative retinopathy")
DR_PROLIFERATIVE: Final = Code("LA18648-8", "LN", "Proliferative retinopathy")

# The international clinical scale (ICDR), 0 to 4.
ICDR: Final = (DR_NONE, DR_MILD, DR_MODERATE, DR_SEVERE, DR_PROLIFERATIVE)

# --- NCI Thesaurus: in the molecular tumour board guide of the German Medical Informatics Initiative ---

PD_L1_CPS: Final = Code("C176582", "NCIt", "PD-L1 Combined Positive Score")

# --- RadLex (CID 7036 image quality, CID 7035 actionable findings), in pydicom's dictionary or PS3.16 ---

DIAGNOSTIC_QUALITY: Final = Code("RID12", "RADLEX", "Diagnostic quality")
LIMITED_QUALITY: Final = Code("RID13", "RADLEX", "Limited quality")
NON_DIAGNOSTIC_QUALITY: Final = Code("RID14", "RADLEX", "Non-diagnostic quality")
ACTIONABLE_1: Final = Code("RID49480", "RADLEX", "ACR Category 1 Actionable Finding")
ACTIONABLE_2: Final = Code("RID49481", "RADLEX", "ACR Category 2 Actionable Finding")
ACTIONABLE_3: Final = Code("RID49482", "RADLEX", "ACR Category 3 Actionable Finding")

# --- UMLS: the container of TID 1500 (PS3.16; HL7 dicom-sr guide), not in pydicom ---

QUALITATIVE_EVALUATIONS: Final = Code("C0034375", "UMLS", "Qualitative Evaluations")

# --- UCUM; those without a row in PS3.16 are valid UCUM expressions ---

UM: Final = Code("um", "UCUM", "micrometer")
MM: Final = Code("mm", "UCUM", "mm")
MM2: Final = Code("mm2", "UCUM", "square millimeter")
UM2: Final = Code("um2", "UCUM", "square micrometer")
MM3: Final = Code("mm3", "UCUM", "cubic millimeter")
UL: Final = Code("uL", "UCUM", "microliter")
NL: Final = Code("nL", "UCUM", "nanoliter")
PERCENT: Final = Code("%", "UCUM", "Percent")
COUNTS: Final = Code("{counts}", "UCUM", "Counts")
PER_MM2: Final = Code("/mm2", "UCUM", "per square millimeter")
RATIO: Final = Code("{ratio}", "UCUM", "ratio")
ONE: Final = Code("1", "UCUM", "no units")
ZERO_TO_ONE: Final = Code("{0:1}", "UCUM", "range 0 to 1")
DECIBEL: Final = Code("dB", "UCUM", "decibel")
SECOND: Final = Code("s", "UCUM", "second")
YEAR: Final = Code("a", "UCUM", "year")
DB_PER_YEAR: Final = Code("dB/a", "UCUM", "decibel per year")
UM_PER_YEAR: Final = Code("um/a", "UCUM", "micrometer per year")
PERCENT_PER_YEAR: Final = Code("%/a", "UCUM", "percent per year")
MONTH: Final = Code("mo", "UCUM", "month")
DAY: Final = Code("d", "UCUM", "day")

# --- 99ORTAI: this project's private scheme. Definitions are in docs/reference/conformance.md ---

PRIVATE_SCHEME: Final = "99ORTAI"
PRIVATE_SCHEME_NAME: Final = "Orthanc AI Router private codes"
# UUID-derived (PS3.5 B.2), an arbitrary constant that names the scheme for ever.
PRIVATE_SCHEME_UID: Final = "2.25.16030473900475072681631936169571482193"

AUDIT_ROUTING: Final = Code("AUDIT-ROUTING", PRIVATE_SCHEME, "Routing decision")
AUDIT_INFERENCE: Final = Code("AUDIT-INFERENCE", PRIVATE_SCHEME, "Inference")
AUDIT_REQUEST: Final = Code("AUDIT-REQUEST", PRIVATE_SCHEME, "Analysis requested")
AUDIT_CANCEL: Final = Code("AUDIT-CANCEL", PRIVATE_SCHEME, "Analysis canceled")
AUDIT_VIEW: Final = Code("AUDIT-VIEW", PRIVATE_SCHEME, "Study viewed")
AUDIT_REVIEW: Final = Code("AUDIT-REVIEW", PRIVATE_SCHEME, "Finding reviewed")
AUDIT_ASSIGNMENT: Final = Code("AUDIT-ASSIGNMENT", PRIVATE_SCHEME, "Study assigned")
AUDIT_PRIORITY: Final = Code("AUDIT-PRIORITY", PRIVATE_SCHEME, "Priority set by a person")
AUDIT_READ: Final = Code("AUDIT-READ", PRIVATE_SCHEME, "Study read")
AUDIT_RESCAN: Final = Code("AUDIT-RESCAN", PRIVATE_SCHEME, "Rescan dismissed")

NUCLEI_COUNT: Final = Code("NUCLEI-COUNT", PRIVATE_SCHEME, "Number of nuclei")
POSITIVE_COUNT: Final = Code("POSITIVE-COUNT", PRIVATE_SCHEME, "Number of positive nuclei")
NEGATIVE_COUNT: Final = Code("NEGATIVE-COUNT", PRIVATE_SCHEME, "Number of negative nuclei")
NUCLEI_DENSITY: Final = Code("NUCLEI-DENSITY", PRIVATE_SCHEME, "Number of nuclei per tissue area")
FIELD_DENSITY: Final = Code("FIELD-DENSITY", PRIVATE_SCHEME, "Number of nuclei per area of the field")
POSITIVE_FRACTION: Final = Code("POSITIVE-FRACT", PRIVATE_SCHEME, "Fraction of positive nuclei")
POSITIVE_NUCLEUS: Final = Code("POSITIVE-NUCLEUS", PRIVATE_SCHEME, "Immunopositive nucleus")
NEGATIVE_NUCLEUS: Final = Code("NEGATIVE-NUCLEUS", PRIVATE_SCHEME, "Immunonegative nucleus")
MEAN_DAB_OD: Final = Code("MEAN-DAB-OD", PRIVATE_SCHEME, "Mean optical density of DAB")
HOTSPOT: Final = Code("HOTSPOT", PRIVATE_SCHEME, "Region of highest positive fraction")
POSITIVE_HOTSPOT: Final = Code("POSITIVE-HOTSPOT", PRIVATE_SCHEME, "Window with most positive nuclei")
ER_LOW_POSITIVE: Final = Code("ER-LOW-POSITIVE", PRIVATE_SCHEME, "Estrogen receptor low positive")
H_SCORE: Final = Code("H-SCORE", PRIVATE_SCHEME, "H-score")
METHOD_NUCLEAR: Final = Code("METHOD-NUCLEAR", PRIVATE_SCHEME, "Nuclear positivity by mean DAB density of nuclei")
METHOD_MEMBRANE: Final = Code("METHOD-MEMBRANE", PRIVATE_SCHEME, "Membrane scoring by DAB density on rays from nuclei")
MEMBRANE_0: Final = Code("MEMBRANE-0", PRIVATE_SCHEME, "Cell without membrane staining")
MEMBRANE_1: Final = Code("MEMBRANE-1", PRIVATE_SCHEME, "Cell with faint or incomplete membrane staining")
MEMBRANE_2: Final = Code("MEMBRANE-2", PRIVATE_SCHEME, "Cell with weak to moderate complete membrane staining")
MEMBRANE_3: Final = Code("MEMBRANE-3", PRIVATE_SCHEME, "Cell with strong complete membrane staining")
MEMBRANE_0_SHARE: Final = Code("MEMBRANE-0-SHARE", PRIVATE_SCHEME, "Share of cells without membrane staining")
MEMBRANE_1_SHARE: Final = Code("MEMBRANE-1-SHARE", PRIVATE_SCHEME, "Share of cells with faint or incomplete staining")
MEMBRANE_2_SHARE: Final = Code("MEMBRANE-2-SHARE", PRIVATE_SCHEME, "Share of cells with weak to moderate full staining")
MEMBRANE_3_SHARE: Final = Code("MEMBRANE-3-SHARE", PRIVATE_SCHEME, "Share of cells with strong complete staining")
MEMBRANE_STAINED: Final = Code("MEMBRANE-STAINED", PRIVATE_SCHEME, "Share of cells with any membrane staining")
MEMBRANE_OD: Final = Code("MEMBRANE-OD", PRIVATE_SCHEME, "Optical density of DAB in the stained membrane")
MEMBRANE_COMPLETE: Final = Code("MEMBRANE-EXTENT", PRIVATE_SCHEME, "Stained share of the circumference of a cell")
STAINED_COUNT: Final = Code("STAINED-COUNT", PRIVATE_SCHEME, "Number of cells with membrane staining")
IMMUNE_COUNT: Final = Code("IMMUNE-COUNT", PRIVATE_SCHEME, "Number of immune cells that count for the score")
IMMUNE_STAINED: Final = Code("IMMUNE-STAINED", PRIVATE_SCHEME, "Number of stained immune cells among them")
HER2_0: Final = Code("HER2-0", PRIVATE_SCHEME, "HER2 immunohistochemistry score 0")
HER2_1: Final = Code("HER2-1", PRIVATE_SCHEME, "HER2 immunohistochemistry score 1+")
HER2_2: Final = Code("HER2-2", PRIVATE_SCHEME, "HER2 immunohistochemistry score 2+")
HER2_3: Final = Code("HER2-3", PRIVATE_SCHEME, "HER2 immunohistochemistry score 3+")
TISSUE_AREA: Final = Code("TISSUE-AREA", PRIVATE_SCHEME, "Analysed tissue area")
TISSUE_SHARE: Final = Code("TISSUE-SHARE", PRIVATE_SCHEME, "Share of the analysed tissue")
PATCH_COUNT: Final = Code("PATCH-COUNT", PRIVATE_SCHEME, "Number of analysed patches")
TUMOUR_TUBULE: Final = Code("TUMOUR-TUBULE", PRIVATE_SCHEME, "Tumour that forms tubules")
NORMAL_TISSUE: Final = Code("NORMAL-TISSUE", PRIVATE_SCHEME, "Tissue without tumour")
MARGIN_INK: Final = Code("MARGIN-INK", PRIVATE_SCHEME, "Ink on the margin of the specimen")
TUMOUR_CELLULARITY: Final = Code("TUMOUR-CELLS", PRIVATE_SCHEME, "Tumour cellularity")
STIL: Final = Code("STIL", PRIVATE_SCHEME, "Stromal tumour infiltrating lymphocytes")
MITOTIC_COUNT: Final = Code("MITOTIC-COUNT", PRIVATE_SCHEME, "Number of mitotic figures")
MITOTIC_DENSITY: Final = Code("MITOTIC-DENSITY", PRIVATE_SCHEME, "Mitotic figures per tissue area")
MITOTIC_WINDOW_DENSITY: Final = Code("MITOTIC-WINDOW", PRIVATE_SCHEME, "Mitotic figures per area of the window")
MITOTIC_FIGURE: Final = Code("MITOTIC-FIGURE", PRIVATE_SCHEME, "Mitotic figure")
MITOTIC_HOTSPOT: Final = Code("MITOTIC-HOTSPOT", PRIVATE_SCHEME, "Window with most mitotic figures")
METHOD_MITOSES: Final = Code("METHOD-MITOSES", PRIVATE_SCHEME, "Mitotic count in the densest circular window")
STROMA_SCORED: Final = Code("STROMA-SCORED", PRIVATE_SCHEME, "Stroma within the tumour bed")
LYMPHOCYTE_COUNT: Final = Code("LYMPHOCYTES", PRIVATE_SCHEME, "Number of lymphocytes in the stroma")
LYMPHOCYTE_DENSITY: Final = Code("LYMPHO-DENSITY", PRIVATE_SCHEME, "Lymphocytes per area of stroma")
METHOD_STIL: Final = Code("METHOD-STIL", PRIVATE_SCHEME, "Area of stroma that lymphocytes occupy")
TUBULE_SHARE: Final = Code("TUBULE-SHARE", PRIVATE_SCHEME, "Share of the tumour that forms tubules")
NUCLEAR_AREA: Final = Code("NUCLEAR-AREA", PRIVATE_SCHEME, "Mean area of tumour nuclei")
REFERENCE_AREA: Final = Code("REFERENCE-AREA", PRIVATE_SCHEME, "Mean area of reference nuclei")
NUCLEAR_RATIO: Final = Code("NUCLEAR-RATIO", PRIVATE_SCHEME, "Mean area of tumour nuclei by that of reference nuclei")
NUCLEAR_VARIATION: Final = Code("NUCLEAR-CV", PRIVATE_SCHEME, "Coefficient of variation of the area of tumour nuclei")
NOTTINGHAM_SUM: Final = Code("NOTTINGHAM-SUM", PRIVATE_SCHEME, "Sum of the three Nottingham scores")
METHOD_NOTTINGHAM: Final = Code("METHOD-GRADE", PRIVATE_SCHEME, "Nottingham grade from areas, nuclear size and mitoses")
TUMOUR_BED: Final = Code("TUMOUR-BED", PRIVATE_SCHEME, "Tumour bed")
TUMOUR_BED_AREA: Final = Code("TUMOUR-BED-AREA", PRIVATE_SCHEME, "Area of the tumour bed")
TUMOUR_STROMA_RATIO: Final = Code("TUMOUR-STROMA", PRIVATE_SCHEME, "Tumour-stroma ratio")
STROMA_CATEGORY: Final = Code("STROMA-CATEGORY", PRIVATE_SCHEME, "Category of the tumour-stroma ratio")
STROMA_HIGH: Final = Code("STROMA-HIGH", PRIVATE_SCHEME, "Stroma-high")
STROMA_LOW: Final = Code("STROMA-LOW", PRIVATE_SCHEME, "Stroma-low")
METHOD_CLASSES: Final = Code("METHOD-CLASSES", PRIVATE_SCHEME, "Area of the classes of a tissue model")
METHOD_BED: Final = Code("METHOD-BED", PRIVATE_SCHEME, "Shares of the area of the tumour bed")

MARGIN_USED: Final = Code("MARGIN-USED", PRIVATE_SCHEME, "Margin that was measured to")
MARGIN_DRAWN: Final = Code("MARGIN-DRAWN", PRIVATE_SCHEME, "Margin drawn by a person")
MARGIN_EDGE: Final = Code("MARGIN-EDGE", PRIVATE_SCHEME, "Edge of the tissue")
MARGIN_POSITIVE: Final = Code("MARGIN-POSITIVE", PRIVATE_SCHEME, "Margin positive")
MARGIN_CLOSE: Final = Code("MARGIN-CLOSE", PRIVATE_SCHEME, "Margin close")
MARGIN_CLEAR: Final = Code("MARGIN-CLEAR", PRIVATE_SCHEME, "Margin clear")
METHOD_MARGIN: Final = Code("METHOD-MARGIN", PRIVATE_SCHEME, "Shortest straight path from tumour to margin")

TUMOUR_DEPOSIT: Final = Code("TUMOUR-DEPOSIT", PRIVATE_SCHEME, "Largest tumour deposit in a lymph node")
DEPOSIT_COUNT: Final = Code("DEPOSIT-COUNT", PRIVATE_SCHEME, "Number of tumour deposits")
DEPOSIT_CATEGORY: Final = Code("DEPOSIT-CATEGORY", PRIVATE_SCHEME, "Category of the largest tumour deposit by its size")
ISOLATED_TUMOUR_CELLS: Final = Code("DEPOSIT-ITC", PRIVATE_SCHEME, "Isolated tumour cells")
MICROMETASTASIS: Final = Code("DEPOSIT-MICRO", PRIVATE_SCHEME, "Micrometastasis")
MACROMETASTASIS: Final = Code("DEPOSIT-MACRO", PRIVATE_SCHEME, "Macrometastasis")
METHOD_DEPOSIT: Final = Code("METHOD-DEPOSIT", PRIVATE_SCHEME, "Greatest dimension of the largest tumour deposit")
TRIAGE_MET: Final = Code("TRIAGE-MET", PRIVATE_SCHEME, "Criterion of triage is met")

UNDERSTAINED: Final = Code("UNDERSTAINED", PRIVATE_SCHEME, "Understained")
OVERSTAINED: Final = Code("OVERSTAINED", PRIVATE_SCHEME, "Overstained")
OFF_TISSUE_AREA: Final = Code("OFF-TISSUE-AREA", PRIVATE_SCHEME, "Area beside the tissue")
METHOD_SLIDE_QUALITY: Final = Code("METHOD-QUALITY", PRIVATE_SCHEME, "Usable tissue of a slide by its artefacts")

RETINAL_THICKNESS: Final = Code("RETINAL-THICK", PRIVATE_SCHEME, "Mean retinal thickness of one B-scan")
CENTRAL_THICKNESS: Final = Code("CENTRAL-THICK", PRIVATE_SCHEME, "Retinal thickness at the centre of the scan")
FLUID_VOLUME: Final = Code("FLUID-VOLUME", PRIVATE_SCHEME, "Volume of retinal fluid")
FLUID_AREA: Final = Code("FLUID-AREA", PRIVATE_SCHEME, "Area of retinal fluid on one B-scan")
RETINAL_FLUID: Final = Code("RETINAL-FLUID", PRIVATE_SCHEME, "Retinal fluid")
INTRARETINAL_FLUID: Final = Code("IRF", PRIVATE_SCHEME, "Intraretinal fluid")
SUBRETINAL_FLUID: Final = Code("SRF", PRIVATE_SCHEME, "Subretinal fluid")
PIGMENT_EPITHELIAL_DETACHMENT: Final = Code("PED", PRIVATE_SCHEME, "Pigment epithelial detachment")

# Layers of the retina (classes of the model retina-layers). DICOM has codes of surfaces, not of what lies between.
RNFL_LAYER: Final = Code("RNFL", PRIVATE_SCHEME, "Retinal nerve fibre layer")
GCL_IPL_LAYER: Final = Code("GCL-IPL", PRIVATE_SCHEME, "Ganglion cell layer and inner plexiform layer")
OUTER_RETINA_LAYER: Final = Code("OUTER-RETINA", PRIVATE_SCHEME, "Inner nuclear layer to photoreceptors")
RPE_LAYER: Final = Code("RPE", PRIVATE_SCHEME, "Retinal pigment epithelium")

# Macula, drusen and nerve fibre layer of OCT volumes.
FLUID_CENTRAL: Final = Code("FLUID-CENTRAL", PRIVATE_SCHEME, "Volume of fluid within the central subfield")
CENTRE_INVOLVED: Final = Code("CENTRE-INVOLVED", PRIVATE_SCHEME, "Lies within the central subfield")
METHOD_MACULA: Final = Code("METHOD-MACULA", PRIVATE_SCHEME, "ILM to Bruch's membrane of a layer model, ETDRS grid")
METHOD_VOXELS: Final = Code("METHOD-VOXELS", PRIVATE_SCHEME, "Pixels of a class of a layer model on the B-scans")
DRUSEN_VOLUME: Final = Code("DRUSEN-VOLUME", PRIVATE_SCHEME, "Volume of drusen in the scan")
DRUSEN_VOLUME_3: Final = Code("DRUSEN-VOL-3MM", PRIVATE_SCHEME, "Volume of drusen in the 3 mm circle")
DRUSEN_VOLUME_5: Final = Code("DRUSEN-VOL-5MM", PRIVATE_SCHEME, "Volume of drusen in the 5 mm circle")
DRUSEN_EXTENT: Final = Code("DRUSEN-AREA", PRIVATE_SCHEME, "Area of drusen seen from the front")
DRUSEN_HEIGHT: Final = Code("DRUSEN-HEIGHT", PRIVATE_SCHEME, "Height of the highest druse")
DRUSEN_DIAMETER: Final = Code("DRUSEN-DIAMETER", PRIVATE_SCHEME, "Diameter of the largest druse")
DRUSEN_COUNT: Final = Code("DRUSEN-COUNT", PRIVATE_SCHEME, "Number of drusen")
GEOGRAPHIC_ATROPHY: Final = Code("GEOGR-ATROPHY", PRIVATE_SCHEME, "Geographic atrophy")
ATROPHY_FOCI: Final = Code("GA-FOCI", PRIVATE_SCHEME, "Number of foci of geographic atrophy")
ATROPHY_DISTANCE: Final = Code("GA-DISTANCE", PRIVATE_SCHEME, "Distance of geographic atrophy from the fovea")
METHOD_DRUSEN: Final = Code("METHOD-DRUSEN", PRIVATE_SCHEME, "Drusen of a layer model within circles about the fovea")
METHOD_ATROPHY: Final = Code("METHOD-ATROPHY", PRIVATE_SCHEME, "A-scans without pigment epithelium of a layer model")
METHOD_RNFL_CIRCLE: Final = Code("METHOD-RNFL-CIR", PRIVATE_SCHEME, "RNFL along a scanned circle about the disc")
METHOD_RNFL_CUBE: Final = Code("METHOD-RNFL-CUBE", PRIVATE_SCHEME, "RNFL on a 3.46 mm circle in a volume of the disc")
METHOD_GCC: Final = Code("METHOD-GCC", PRIVATE_SCHEME, "ILM to outer surface of the IPL about the fovea")
METHOD_GC_IPL: Final = Code("METHOD-GC-IPL", PRIVATE_SCHEME, "RNFL to outer surface of the IPL in an elliptic ring")
HEMIFIELD_ASYMMETRY: Final = Code("HEMIFIELD-DIFF", PRIVATE_SCHEME, "Superior minus inferior hemifield")
NORMAL_DEVIATION: Final = Code("NORMAL-DIFF", PRIVATE_SCHEME, "Difference from the normal value of the site")
GLAUCOMA_BY_RNFL: Final = Code("ADV-GLAUCOMA-NFL", PRIVATE_SCHEME, "Advanced glaucoma suspected from nerve fibres")
RNFL_TREND: Final = Code("RNFL-TREND", PRIVATE_SCHEME, "Trend of the nerve fibre layer thickness")
RNFL_RATE: Final = Code("RNFL-RATE", PRIVATE_SCHEME, "Rate of change of the average RNFL thickness")
RNFL_SUPERIOR_RATE: Final = Code("RNFL-RATE-SUP", PRIVATE_SCHEME, "Rate of change of the superior RNFL")
RNFL_INFERIOR_RATE: Final = Code("RNFL-RATE-INF", PRIVATE_SCHEME, "Rate of change of the inferior RNFL")

# Structures and lesions of a fundus photograph (classes of the model fundus-lesions).
OPTIC_CUP: Final = Code("OPTIC-CUP", PRIVATE_SCHEME, "Cup of the optic disc")
MICROANEURYSM: Final = Code("MICROANEURYSM", PRIVATE_SCHEME, "Retinal microaneurysm")
HARD_EXUDATE: Final = Code("HARD-EXUDATE", PRIVATE_SCHEME, "Hard exudate of the retina")
SOFT_EXUDATE: Final = Code("SOFT-EXUDATE", PRIVATE_SCHEME, "Soft exudate of the retina")
RETINAL_NEOVASCULARISATION: Final = Code("RETINAL-NEOVASC", PRIVATE_SCHEME, "Retinal neovascularisation")

# Diabetic retinopathy and critical findings of fundus photographs.
REFERABLE_DR: Final = Code("REFERABLE-DR", PRIVATE_SCHEME, "Referable diabetic retinopathy")
DR_BY_LESIONS: Final = Code("DR-BY-LESIONS", PRIVATE_SCHEME, "Severity of diabetic retinopathy by its lesions")
FIELDS_GRADED: Final = Code("FIELDS-GRADED", PRIVATE_SCHEME, "Number of gradable photographs of the eye")
DR_REFER: Final = Code("DR-REFER", PRIVATE_SCHEME, "Refer to an ophthalmologist")
DR_RESCREEN: Final = Code("DR-RESCREEN", PRIVATE_SCHEME, "Photograph again at the next screening")
DR_REPHOTOGRAPH: Final = Code("DR-REPHOTOGRAPH", PRIVATE_SCHEME, "Photograph again or examine at the slit lamp")
LESION_COUNT: Final = Code("LESION-COUNT", PRIVATE_SCHEME, "Number of lesions")
COUNT_SUPEROTEMPORAL: Final = Code("COUNT-SUPTEMP", PRIVATE_SCHEME, "Number in the superotemporal quadrant")
COUNT_SUPERONASAL: Final = Code("COUNT-SUPNAS", PRIVATE_SCHEME, "Number in the superonasal quadrant")
COUNT_INFEROTEMPORAL: Final = Code("COUNT-INFTEMP", PRIVATE_SCHEME, "Number in the inferotemporal quadrant")
COUNT_INFERONASAL: Final = Code("COUNT-INFNAS", PRIVATE_SCHEME, "Number in the inferonasal quadrant")
METHOD_DR: Final = Code("METHOD-DR", PRIVATE_SCHEME, "Worst grade of the gradable photographs of an eye")
METHOD_DR_RULE: Final = Code("METHOD-DR-RULE", PRIVATE_SCHEME, "Lesions of the retina by a segmentation model")
METHOD_DME: Final = Code("METHOD-DME", PRIVATE_SCHEME, "Hard exudate within one disc diameter of the fovea")
ADVANCED_GLAUCOMA: Final = Code("ADV-GLAUCOMA", PRIVATE_SCHEME, "Advanced glaucoma suspected from the optic disc")
VERTICAL_CDR: Final = Code("VERTICAL-CDR", PRIVATE_SCHEME, "Vertical cup-to-disc ratio")
AREA_CDR: Final = Code("AREA-CDR", PRIVATE_SCHEME, "Cup-to-disc ratio by area")
RIM_SHARE: Final = Code("RIM-SHARE", PRIVATE_SCHEME, "Share of the disc that is rim")
FIELD_SHARE: Final = Code("FIELD-SHARE", PRIVATE_SCHEME, "Share of the photographed field")
METHOD_CRITICAL: Final = Code("METHOD-CRITICAL", PRIVATE_SCHEME, "Area of a class of a segmentation model in the field")
METHOD_CDR: Final = Code("METHOD-CDR", PRIVATE_SCHEME, "Cup and disc of a segmentation model")

# Visual fields.
VISUAL_FIELD: Final = Code("VISUAL-FIELD", PRIVATE_SCHEME, "Visual field of one test")
FIELD_RELIABILITY: Final = Code("VF-RELIABILITY", PRIVATE_SCHEME, "Reliability of a visual field test")
FIELD_RELIABLE: Final = Code("VF-RELIABLE", PRIVATE_SCHEME, "Visual field test is reliable")
FIELD_DURATION: Final = Code("VF-DURATION", PRIVATE_SCHEME, "Duration of a visual field test")
FIELD_POINTS: Final = Code("VF-POINTS", PRIVATE_SCHEME, "Number of visual field test points")
FIELD_NOT_SEEN: Final = Code("VF-NOT-SEEN", PRIVATE_SCHEME, "Number of test points not seen")
MD_PROBABILITY: Final = Code("VF-MD-P", PRIVATE_SCHEME, "Probability of the mean deviation")
PSD_PROBABILITY: Final = Code("VF-PSD-P", PRIVATE_SCHEME, "Probability of the pattern standard deviation")
VFI_PROBABILITY: Final = Code("VF-VFI-P", PRIVATE_SCHEME, "Probability of the visual field index")
MEAN_TOTAL_DEVIATION: Final = Code("VF-MEAN-TD", PRIVATE_SCHEME, "Unweighted mean of total deviations")
TOTAL_BELOW_5: Final = Code("VF-TD-P5", PRIVATE_SCHEME, "Points with total deviation below the 5 % limit")
TOTAL_BELOW_1: Final = Code("VF-TD-P1", PRIVATE_SCHEME, "Points with total deviation below the 1 % limit")
PATTERN_BELOW_5: Final = Code("VF-PD-P5", PRIVATE_SCHEME, "Points with pattern deviation below the 5 % limit")
PATTERN_BELOW_1: Final = Code("VF-PD-P1", PRIVATE_SCHEME, "Points with pattern deviation below the 1 % limit")
FIELD_STAGE: Final = Code("VF-STAGE", PRIVATE_SCHEME, "Stage of field loss by the mean deviation")
FIELD_MILD: Final = Code("VF-MILD", PRIVATE_SCHEME, "No or early visual field loss")
FIELD_MODERATE: Final = Code("VF-MODERATE", PRIVATE_SCHEME, "Moderate visual field loss")
FIELD_ADVANCED: Final = Code("VF-ADVANCED", PRIVATE_SCHEME, "Advanced visual field loss")
FIELD_SECTOR_TEMPORAL: Final = Code("GH-T", PRIVATE_SCHEME, "Visual field of the temporal disc sector")
FIELD_SECTOR_SUPEROTEMPORAL: Final = Code("GH-ST", PRIVATE_SCHEME, "Visual field of the superotemporal disc sector")
FIELD_SECTOR_SUPERONASAL: Final = Code("GH-SN", PRIVATE_SCHEME, "Visual field of the superonasal disc sector")
FIELD_SECTOR_NASAL: Final = Code("GH-N", PRIVATE_SCHEME, "Visual field of the nasal disc sector")
FIELD_SECTOR_INFERONASAL: Final = Code("GH-IN", PRIVATE_SCHEME, "Visual field of the inferonasal disc sector")
FIELD_SECTOR_INFEROTEMPORAL: Final = Code("GH-IT", PRIVATE_SCHEME, "Visual field of the inferotemporal disc sector")
METHOD_FIELD: Final = Code("METHOD-FIELD", PRIVATE_SCHEME, "Indices as the perimeter gave them")
METHOD_GARWAY_HEATH: Final = Code("METHOD-GH", PRIVATE_SCHEME, "Map of visual field points to optic disc sectors")

# Trends over the visits of one eye: any quantity; the unit says which.
RATE_LOW: Final = Code("RATE-LOW", PRIVATE_SCHEME, "Lower limit of the confidence interval of the rate")
RATE_HIGH: Final = Code("RATE-HIGH", PRIVATE_SCHEME, "Upper limit of the confidence interval of the rate")
RATE_P: Final = Code("RATE-P", PRIVATE_SCHEME, "p-value of the rate")
RATE_ROBUST: Final = Code("RATE-ROBUST", PRIVATE_SCHEME, "Theil-Sen rate")
RATE_ROBUST_P: Final = Code("RATE-ROBUST-P", PRIVATE_SCHEME, "p-value of the trend by the tau of Kendall")
RATE_RESIDUAL: Final = Code("RATE-RESIDUAL", PRIVATE_SCHEME, "Residual standard deviation about the trend")
RATE_VISITS: Final = Code("RATE-VISITS", PRIVATE_SCHEME, "Number of visits in the trend")
RATE_YEARS: Final = Code("RATE-YEARS", PRIVATE_SCHEME, "Time between first and last visit of the trend")
TREND_DIRECTION: Final = Code("TREND", PRIVATE_SCHEME, "Direction of the trend")
TREND_WORSE: Final = Code("TREND-WORSE", PRIVATE_SCHEME, "Significant worsening")
TREND_BETTER: Final = Code("TREND-BETTER", PRIVATE_SCHEME, "Significant improvement")
TREND_NONE: Final = Code("TREND-NONE", PRIVATE_SCHEME, "No significant change")
METHOD_TREND: Final = Code("METHOD-TREND", PRIVATE_SCHEME, "Linear regression over the visits of one eye")

# Progression of visual fields.
FIELD_TREND: Final = Code("VF-TREND", PRIVATE_SCHEME, "Trend of a global index of the visual field")
FIELD_POINT_TREND: Final = Code("VF-POINT-TREND", PRIVATE_SCHEME, "Pointwise trend of the visual field")
FIELD_EVENT: Final = Code("VF-EVENT", PRIVATE_SCHEME, "Event analysis of the visual field")
MD_RATE: Final = Code("VF-MD-RATE", PRIVATE_SCHEME, "Rate of change of the mean deviation")
VFI_RATE: Final = Code("VF-VFI-RATE", PRIVATE_SCHEME, "Rate of change of the visual field index")
POINTS_WORSENING: Final = Code("VF-WORSENING", PRIVATE_SCHEME, "Test points with significant worsening")
POINTS_CLUSTER: Final = Code("VF-CLUSTER", PRIVATE_SCHEME, "Test points in the largest cluster of worsening")
POINT_PROGRESSION: Final = Code("VF-POINT-PROGR", PRIVATE_SCHEME, "Progression by pointwise regression")
EVENT_STATE: Final = Code("VF-EVENT-STATE", PRIVATE_SCHEME, "State of the event analysis")
EVENT_NONE: Final = Code("EVENT-NONE", PRIVATE_SCHEME, "No event")
EVENT_SUSPECTED: Final = Code("EVENT-SUSPECTED", PRIVATE_SCHEME, "Event in two consecutive visits")
EVENT_CONFIRMED: Final = Code("EVENT-CONFIRMED", PRIVATE_SCHEME, "Event in three consecutive visits")
EVENT_POINTS: Final = Code("VF-EVENT-POINTS", PRIVATE_SCHEME, "Test points of the event")
METHOD_POINTWISE: Final = Code("METHOD-PLR", PRIVATE_SCHEME, "Pointwise linear regression of sensitivities")
METHOD_EVENT: Final = Code("METHOD-EVENT", PRIVATE_SCHEME, "Loss from the mean of two baseline visits, repeated")

# Comparison with an earlier image.
PRIOR_COMPARISON: Final = Code("COMPARISON", PRIVATE_SCHEME, "Comparison with an earlier image of the same eye")
PRIOR_IMAGE: Final = Code("PRIOR-IMAGE", PRIVATE_SCHEME, "Earlier image that was compared with")
INTERVAL: Final = Code("INTERVAL", PRIVATE_SCHEME, "Time since the earlier image")
OVERLAP_SHARE: Final = Code("OVERLAP-SHARE", PRIVATE_SCHEME, "Share of the current image that was compared")
REGISTERED_DETAILS: Final = Code("REG-MATCHES", PRIVATE_SCHEME, "Number of details that agree between the images")
REGISTRATION_MISS: Final = Code("REG-ERROR", PRIVATE_SCHEME, "Registration error by the diameter of the field")
VESSEL_CORRELATION: Final = Code("REG-CORRELATION", PRIVATE_SCHEME, "Correlation of the vessels after registration")
CHANGE: Final = Code("CHANGE", PRIVATE_SCHEME, "Change since the earlier image")
CHANGE_NEW: Final = Code("CHANGE-NEW", PRIVATE_SCHEME, "New since the earlier image")
CHANGE_GROWN: Final = Code("CHANGE-GROWN", PRIVATE_SCHEME, "Grown since the earlier image")
CHANGE_SHRUNK: Final = Code("CHANGE-SHRUNK", PRIVATE_SCHEME, "Smaller than in the earlier image")
CHANGE_GONE: Final = Code("CHANGE-GONE", PRIVATE_SCHEME, "Gone since the earlier image")
CHANGE_NONE: Final = Code("CHANGE-NONE", PRIVATE_SCHEME, "No change beyond the limit")
COUNT_THEN: Final = Code("COUNT-THEN", PRIVATE_SCHEME, "Number of lesions in the earlier image")
COUNT_NEW: Final = Code("COUNT-NEW", PRIVATE_SCHEME, "Number of new lesions")
COUNT_GROWN: Final = Code("COUNT-GROWN", PRIVATE_SCHEME, "Number of grown lesions")
COUNT_GONE: Final = Code("COUNT-GONE", PRIVATE_SCHEME, "Number of lesions that are gone")
SHARE_NOW: Final = Code("SHARE-NOW", PRIVATE_SCHEME, "Share of the compared field")
SHARE_THEN: Final = Code("SHARE-THEN", PRIVATE_SCHEME, "Share of the compared field in the earlier image")
AREA_THEN: Final = Code("AREA-THEN", PRIVATE_SCHEME, "Area in the earlier image")
CST_CHANGE: Final = Code("CST-CHANGE", PRIVATE_SCHEME, "Change of central subfield thickness")
CHANGE_INNER_SUPERIOR: Final = Code("CHANGE-IS", PRIVATE_SCHEME, "Change of inner superior subfield thickness")
CHANGE_INNER_NASAL: Final = Code("CHANGE-IN", PRIVATE_SCHEME, "Change of inner nasal subfield thickness")
CHANGE_INNER_INFERIOR: Final = Code("CHANGE-II", PRIVATE_SCHEME, "Change of inner inferior subfield thickness")
CHANGE_INNER_TEMPORAL: Final = Code("CHANGE-IT", PRIVATE_SCHEME, "Change of inner temporal subfield thickness")
CHANGE_OUTER_SUPERIOR: Final = Code("CHANGE-OS", PRIVATE_SCHEME, "Change of outer superior subfield thickness")
CHANGE_OUTER_NASAL: Final = Code("CHANGE-ON", PRIVATE_SCHEME, "Change of outer nasal subfield thickness")
CHANGE_OUTER_INFERIOR: Final = Code("CHANGE-OI", PRIVATE_SCHEME, "Change of outer inferior subfield thickness")
CHANGE_OUTER_TEMPORAL: Final = Code("CHANGE-OT", PRIVATE_SCHEME, "Change of outer temporal subfield thickness")
THICKNESS_THEN: Final = Code("THICKNESS-THEN", PRIVATE_SCHEME, "Central subfield thickness at the earlier visit")
THICKENED_AREA: Final = Code("THICKENED-AREA", PRIVATE_SCHEME, "Area that is thicker by more than the limit")
FLUID_THEN: Final = Code("FLUID-THEN", PRIVATE_SCHEME, "Volume of retinal fluid at the earlier visit")
FLUID_CHANGE: Final = Code("FLUID-CHANGE", PRIVATE_SCHEME, "Change of the volume of retinal fluid")
METHOD_PHOTO_CHANGE: Final = Code("METHOD-OP-CHANGE", PRIVATE_SCHEME, "Lesions of two registered photographs")
METHOD_OCT_CHANGE: Final = Code("METHOD-OCT-CHNG", PRIVATE_SCHEME, "Difference of the maps of two registered scans")
# What changed of the nine fields, by the names of ETDRS_FIELDS.
ETDRS_CHANGES: Final[Mapping[str, Code]] = {
    "centre": CST_CHANGE,
    "inner superior": CHANGE_INNER_SUPERIOR,
    "inner nasal": CHANGE_INNER_NASAL,
    "inner inferior": CHANGE_INNER_INFERIOR,
    "inner temporal": CHANGE_INNER_TEMPORAL,
    "outer superior": CHANGE_OUTER_SUPERIOR,
    "outer nasal": CHANGE_OUTER_NASAL,
    "outer inferior": CHANGE_OUTER_INFERIOR,
    "outer temporal": CHANGE_OUTER_TEMPORAL,
}

GRADABILITY: Final = Code("GRADABILITY", PRIVATE_SCHEME, "Gradability of the image")
GRADABLE: Final = Code("GRADABLE", PRIVATE_SCHEME, "Gradable")
UNGRADABLE: Final = Code("UNGRADABLE", PRIVATE_SCHEME, "Ungradable")
UNGRADABLE_REASON: Final = Code("UNGRADABLE-WHY", PRIVATE_SCHEME, "Reason why the image is ungradable")
POOR_ILLUMINATION: Final = Code("ILLUMINATION", PRIVATE_SCHEME, "Inadequate illumination")
LOW_CONTRAST: Final = Code("CONTRAST", PRIVATE_SCHEME, "Insufficient contrast")
FIELD_INCOMPLETE: Final = Code("FIELD", PRIVATE_SCHEME, "Incomplete field of view")
ILLUMINATION_SCORE: Final = Code("ILLUM-SCORE", PRIVATE_SCHEME, "Illumination score")
FOCUS_SCORE: Final = Code("FOCUS-SCORE", PRIVATE_SCHEME, "Focus score")
CONTRAST_SCORE: Final = Code("CONTRAST-SCORE", PRIVATE_SCHEME, "Contrast score")
FIELD_SCORE: Final = Code("FIELD-SCORE", PRIVATE_SCHEME, "Field of view score")
SIGNAL_QUALITY: Final = Code("SIGNAL-QUALITY", PRIVATE_SCHEME, "Signal quality of the B-scan")

# Summary of a visit.
VISIT_SUMMARY: Final = Code("VISIT-SUMMARY", PRIVATE_SCHEME, "Summary of the findings of one eye at one visit")
STRUCTURE_FUNCTION: Final = Code("STRUCT-FUNCTION", PRIVATE_SCHEME, "Nerve fibre layer beside the visual field")
VISIT_AGREEMENT: Final = Code("AGREEMENT", PRIVATE_SCHEME, "Agreement of two methods")
AGREE_BOTH: Final = Code("AGREE-BOTH", PRIVATE_SCHEME, "Both methods show it")
AGREE_NEITHER: Final = Code("AGREE-NEITHER", PRIVATE_SCHEME, "Neither method shows it")
FIRST_ONLY: Final = Code("FIRST-ONLY", PRIVATE_SCHEME, "Only tomography shows it")
SECOND_ONLY: Final = Code("SECOND-ONLY", PRIVATE_SCHEME, "Only the photograph or the field shows it")
CONTRADICT: Final = Code("CONTRADICT", PRIVATE_SCHEME, "The methods contradict each other")
FIELD_UPPER: Final = Code("VF-UPPER-HALF", PRIVATE_SCHEME, "Mean total deviation above, inferotemporal sector")
FIELD_LOWER: Final = Code("VF-LOWER-HALF", PRIVATE_SCHEME, "Mean total deviation below, superotemporal sector")
METHOD_VISIT: Final = Code("METHOD-VISIT", PRIVATE_SCHEME, "Findings of other jobs of the same visit, side by side")

METHOD_MODEL_SURFACES: Final = Code("METHOD-SURFACES", PRIVATE_SCHEME, "Surfaces from the classes of a model")
THICKNESS_DIFFERENCE: Final = Code("THICKNESS-DIFF", PRIVATE_SCHEME, "Difference of a thickness from a reference")
SOURCE_FINDING: Final = Code("SOURCE-FINDING", PRIVATE_SCHEME, "Finding that this one was inferred from")

# Why a reader rejects a finding.
REJECT_FALSE: Final = Code("REJECT-FALSE", PRIVATE_SCHEME, "False positive")
REJECT_PLACE: Final = Code("REJECT-PLACE", PRIVATE_SCHEME, "Wrong location")
REJECT_VALUE: Final = Code("REJECT-VALUE", PRIVATE_SCHEME, "Wrong value or grade")
REJECT_QUALITY: Final = Code("REJECT-QUALITY", PRIVATE_SCHEME, "Artefact or poor image quality")
REJECT_IDENTITY: Final = Code("REJECT-IDENTITY", PRIVATE_SCHEME, "Wrong patient or laterality")
REJECT_IRRELEVANT: Final = Code("REJECT-IRRELEV", PRIVATE_SCHEME, "Not clinically relevant")
REJECT_OTHER: Final = Code("REJECT-OTHER", PRIVATE_SCHEME, "Other reason")
REJECTIONS: Final = (
    REJECT_FALSE, REJECT_PLACE, REJECT_VALUE, REJECT_QUALITY, REJECT_IDENTITY, REJECT_IRRELEVANT, REJECT_OTHER
)  # fmt: skip

RESULT_OBJECT: Final = Code("RESULT-OBJECT", PRIVATE_SCHEME, "Object made by the same analysis")
NOT_ANALYSED: Final = Code("NOT-ANALYSED", PRIVATE_SCHEME, "Not analysed")
READING_PRIORITY: Final = Code("PRIORITY", PRIVATE_SCHEME, "Suggested reading priority")
PRIORITY_STAT: Final = Code("STAT", PRIVATE_SCHEME, "Stat")
PRIORITY_HIGH: Final = Code("HIGH", PRIVATE_SCHEME, "High")
PRIORITY_ROUTINE: Final = Code("ROUTINE", PRIVATE_SCHEME, "Routine")
PRIORITY_LOW: Final = Code("LOW", PRIVATE_SCHEME, "Low")

PRIORITY: Final[Mapping[Priority, Code]] = {
    Priority.STAT: PRIORITY_STAT,
    Priority.HIGH: PRIORITY_HIGH,
    Priority.ROUTINE: PRIORITY_ROUTINE,
    Priority.LOW: PRIORITY_LOW,
}
LATERALITY: Final[Mapping[Laterality, Code]] = {Laterality.R: RIGHT, Laterality.L: LEFT, Laterality.B: BILATERAL}

# Every code above, by its constant's name.
ALL: Final[Mapping[str, Code]] = {name: value for name, value in globals().items() if isinstance(value, Code)}
