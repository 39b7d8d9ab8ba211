"""Orthanc AI Router: routes stored slides and eye images to ONNX models and writes the findings back as DICOM.

Not a medical device. The AI suggests, a clinician decides.
"""

__version__ = "0.1.0"
