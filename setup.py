"""Packaging of insight. Each pin says what forces it."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1] for line in (HERE / "insight/__init__.py").read_text().splitlines() if line.startswith("__version__")
)

CORE = [
    "numpy>=1.23,<2",  # MXNet 1.9.1 uses np.bool and np.PZERO; insight/_mxnet.py mends the first, 2.0 removed the second
    "opencv-python>=4.5,<4.12",  # 4.12 asks for NumPy 2
    "scikit-image>=0.19",  # similarity transform
    "easydict>=1.9",
    "onnx>=1.14,<=1.18",  # 1.19 dropped onnx.mapping, which MXNet's exporter imports
    "protobuf>=3.20.2",
    "rich>=12",
    "setuptools>=65",  # brings back distutils, which MXNet imports, on Python 3.12
]
MXNET_CPU = "mxnet==1.9.1"  # the last release

setup(
    name="insight",
    version=VERSION,
    description="Train, check and ship face-embedding networks on MXNet, in InsightFace's formats",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.9,<3.13",
    packages=find_packages(include=["insight", "insight.*"]) + ["insight.datasets"],
    package_dir={"insight.datasets": "datasets"},
    install_requires=CORE + [MXNET_CPU],
    extras_require={},
    entry_points={"console_scripts": ["insight = insight.cli:main"]},
)
