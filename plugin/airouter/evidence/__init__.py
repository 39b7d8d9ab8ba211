"""Writes results as DICOM objects: SEG, ANN, Parametric Map and the reports that refer to them.

The only package that imports highdicom. `airouter.evidence.write.write` is the way in; docs/reference/conformance.md
says what is written.
"""
