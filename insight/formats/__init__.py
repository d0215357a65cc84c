"""Readers and writers of InsightFace's formats: records, lists, properties and verification sets.

Only the standard library and NumPy are needed: this package does not import MXNet or OpenCV. Packing imports NumPy only
if it uses a reader.
"""
