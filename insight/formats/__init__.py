"""Readers and writers of InsightFace's formats: records, lists, properties and verification sets.

Standard library and NumPy only: this package does not import MXNet or OpenCV, and packing imports NumPy only when a
reader is used.
"""
