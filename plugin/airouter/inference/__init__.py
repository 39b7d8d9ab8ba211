"""Runs models: reads and checks their folders, feeds them, checks what comes out.

The only package that imports onnxruntime and onnx. `ModelRepository` is the way in; `whole` runs a model on an image
that is not cut into patches. What a model folder holds: docs/reference/manifest.md.
"""
