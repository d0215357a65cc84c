"""Bytes: records, lists, properties and verification sets, as InsightFace wrote them.

Standard library and NumPy only; nothing here loads MXNet or OpenCV, and packing does not
even load NumPy until a reader is asked for.
"""
