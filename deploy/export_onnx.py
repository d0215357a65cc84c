"""Write a checkpoint as ONNX: the command `insight export-onnx`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
