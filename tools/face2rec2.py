"""Pack image lists into .rec, .idx and property, under InsightFace's name: the command `insight face2rec`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
