"""Train, check and ship face-embedding networks on Apache MXNet, in InsightFace's formats.

The packages read in the order that data flows: formats, data, feed, nets, heads,
train, verify, export. Importing this package loads none of them.
"""

__version__ = "0.1.0"
