"""Train by InsightFace's config.py: the command `insight train`."""

from insight.cli import script

if __name__ == "__main__":
    script(__file__)
