"""Binary files of arrays: rows of an .npz, uncompressed zip archives, MXNet's .params, OpenCV's matrices.

Only NumPy is needed.
"""
