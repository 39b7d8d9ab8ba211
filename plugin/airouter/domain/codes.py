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

# Definition of a thickness and retinal surfaces (CID 4262, 4273).
RNFL_THICKNESS: Final = Code("111925", "DCM", "Retinal nerve fiber layer thickness")
RETINAL_THICKNESS_ILM_ISOS: Final = Code("111927", "DCM", "Total retinal thickness (ILM to IS-OS)")
RETINAL_THICKNESS_ILM_RPE: Final = Code("111928", "DCM", "Total retinal thickness (ILM to RPE)")
RETINAL_THICKNESS_ILM_BM: Final = Code("111929", "DCM", "Total retinal thickness (ILM to BM)")
RNFL_OUTER_SURFACE: Final = Code("128289", "DCM", "Outer surface of RNFL")
# 128297 and 128299 are named "Anterior" and "Posterior surface of the RPE" in editions before 2026.
RPE_INNER_SURFACE: Final = Code("128297", "DCM", "Inner surface of the RPE")
RPE_CENTRE_SURFACE: Final = Code("128298", "DCM", "Surface of the center of the RPE")
RPE_OUTER_SURFACE: Final = Code("128299", "DCM", "Outer surface of the RPE")

# --- DCM added in 2025 and 2026, not yet in pydicom (PS3.16 2026, CID 4285 and CID 7164) ---

AVERAGE_THICKNESS: Final = Code("131255", "DCM", "Average macular thickness")
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

# --- SNOMED CT, in PS3.16 2026 but not in pydicom ---

QUALITY: Final = Code("263496004", "SCT", "Quality")  # CID 7150
AIR_BUBBLE: Final = Code("56117007", "SCT", "Air bubble")  # CID 7164
SLIDE: Final = Code("1179252003", "SCT", "Slide")
LYMPHOCYTE: Final = Code("56972008", "SCT", "Lymphocyte")  # annotations of NCI's Imaging Data Commons

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

# --- 99ORTAI: this project's private scheme. Definitions are in docs/reference/conformance.md ---

PRIVATE_SCHEME: Final = "99ORTAI"
PRIVATE_SCHEME_NAME: Final = "Orthanc AI Router private codes"
# UUID-derived (PS3.5 B.2), an arbitrary constant that names the scheme for ever.
PRIVATE_SCHEME_UID: Final = "2.25.16030473900475072681631936169571482193"

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
