"""Train, check and export face-embedding networks on Apache MXNet, in InsightFace's formats.

Importing this package imports none of its subpackages.
"""

__version__ = "0.1.0"
