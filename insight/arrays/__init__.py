"""Files of numbers as they lie on disk: rows of an .npz, stored zip entries, MXNet's .params, matrices of OpenCV.

Only NumPy is needed.
"""
