"""The commands that ``same_results.py`` runs in two checkouts, in this order: some read what others wrote."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One command, run in a folder beside ``inputs/``, and the files that it writes.

    Attributes
    ----------
    name, command : str
    outputs : str
        Patterns of the files to compare.
    status : int
        The exit status that is expected.
    killed_after : str
        If given, the command is first started and gets SIGKILL once this file exists, then resumed with ``--resume``.
    like : str
        If given, the outputs must also equal, within each checkout, those of this folder.
    """

    name: str
    command: str
    outputs: str
    status: int = 0
    killed_after: str = ""
    like: str = ""


TRAIN = "train-softmax --seed 0 --num-workers 1 --frequent 5 --ckpt 2 --lr 0.01 --emb-size 64"
Y1 = f"{TRAIN} --network y1 --data-dir set --target val --per-batch-size 4 --max-steps 40 --verbose 20"
ARCFACE = f"{Y1} --loss-type 4 --pretrained softmax/model,2"
TWO = f"{ARCFACE} --devices cpu,cpu --per-batch-size 2 --max-steps 20"
SMALL = f"{TRAIN} --data-dir small --target '' --verbose 100"
MARGIN = f"{SMALL} --network y1 --version-output E --per-batch-size 6 --max-steps 10"
RUN = "{0}/model-*.params {0}/model-symbol.json {0}/model-log.jsonl"
MODEL = "--model arcface/model,2"
REAL = "--model ../inputs/real/model,0"

CASES = [
    Case(
        "dir2lst",
        "dir2lst ../inputs/faces train.lst --val-ratio 0.4 --val-output val.lst --label-map",
        "*.lst *.labels.csv",
    ),
    Case("face2rec, indexed", "face2rec train.lst --output set", "set/*"),
    Case("face2rec, plain layout", "face2rec train.lst --output plain --layout plain", "plain/*"),
    Case("face2rec, 64x64 PNG", "face2rec train.lst --output small --image-size 64,64 --encoding .png", "small/*"),
    Case("face2rec, odd images", "face2rec ../inputs/odd.lst --output odd --damaged keep", "odd/*"),
    Case(
        "make-bin",
        "make-bin val.lst set/val.bin --pairs 24 --folds 3 --pairs-output pairs.csv",
        "set/val.bin pairs.csv",
    ),
    Case("rec2image", "rec2image odd unpacked", "unpacked/**/*"),
    Case("dataset-check", "dataset-check set --deep --exclude set/val.bin --json check.json", "check.json"),
    Case("dataset-check, odd images", "dataset-check odd --deep --json check-odd.json", "check-odd.json", status=1),
    Case(
        "dataset-check, damaged set",
        "dataset-check ../inputs/damaged --deep --json check-damaged.json",
        "check-damaged.json",
        status=1,
    ),
    Case("dataset-repair", "dataset-repair ../inputs/damaged --output repaired --deep", "repaired/*"),
    Case(
        "train y1, softmax, 40 steps",
        f"{Y1} --loss-type 0 --fc7-no-bias --color 2 --cutoff 24 --wd 0.0001 --fc7-wd-mult 10 --prefix softmax/model",
        RUN.format("softmax"),
    ),
    Case("train y1, ArcFace from its checkpoint, 40 steps", f"{ARCFACE} --prefix arcface/model", RUN.format("arcface")),
    Case("train y1, ArcFace on cpu,cpu, 20 steps", f"{TWO} --prefix two/model", RUN.format("two")),
    Case(
        "the same, killed and resumed",
        f"{TWO} --save-every 7 --prefix resumed/model",
        "resumed/model-*.params",
        killed_after="resumed/model-resume.npz",
        like="two",
    ),
    Case(
        "train r18 with dropout (E), SphereFace, 40 steps",
        f"{SMALL} --network r18 --version-output E --loss-type 1 --beta 20 --per-batch-size 2 --max-steps 40 "
        "--prefix sphereface/model",
        RUN.format("sphereface"),
    ),
    Case(
        "train y1, softmax with a bias, warm-up and cosine schedule",
        f"{MARGIN} --loss-type 0 --lr-schedule cosine --warmup 3 --prefix biased/model",
        RUN.format("biased"),
    ),
    Case(
        "train y1, CosFace, frozen backbone at first",
        f"{MARGIN} --loss-type 2 --margin-m 0.35 --freeze-backbone-steps 4 --fc7-lr-mult 2 --prefix cosface/model",
        RUN.format("cosface"),
    ),
    Case(
        "train y1, combined margin, poly schedule",
        f"{MARGIN} --loss-type 5 --margin-a 0.9 --margin-m 0.4 --margin-b 0.15 --lr-schedule poly "
        "--prefix combined/model",
        RUN.format("combined"),
    ),
    Case(
        "train y1, ArcFace with easy margin, filtered",
        f"{MARGIN} --loss-type 4 --easy-margin 1 --images-filter 2 --prefix easy/model",
        RUN.format("easy"),
    ),
    Case("train y1, loss type 6", f"{MARGIN} --loss-type 6 --margin-b 0.2 --prefix six/model", RUN.format("six")),
    Case("train y1, loss type 7", f"{MARGIN} --loss-type 7 --margin-b 0.2 --prefix seven/model", RUN.format("seven")),
    Case(
        "plot-log",
        "plot-log softmax/model-log.jsonl arcface/model-log.jsonl --output curves.png --csv curves.csv",
        "curves.*",
    ),
    Case("verification", f"verification {MODEL} --data-dir set --target val --json verified.json", "verified.json"),
    Case(
        "identification",
        f"identification {MODEL} --gallery ../inputs/gallery --probes ../inputs/probes --json identified.json",
        "identified.json",
    ),
    Case(
        "dataset-merge",
        f"dataset-merge {MODEL} --include ../inputs/first_set,../inputs/second_set --exclude set/val.bin "
        "--output merged --param1 0.9 --param2 0.999 --on-overlap pool --within",
        "merged/*",
    ),
    Case("dataset-clean", f"dataset-clean ../inputs/first_set {MODEL} --output clean --threshold 0.8", "clean/*"),
    Case("model-slim", f"model-slim {MODEL} --output slim", "slim-*"),
    Case("model-slim --fold-bn", f"model-slim {MODEL} --output folded --fold-bn", "folded-*"),
    Case("export-onnx, plain", f"export-onnx {MODEL} --output plain.onnx", "plain.onnx"),
    Case("export-onnx, fast", f"export-onnx {MODEL} --output fast.onnx --graph fast", "fast.onnx"),
    Case(
        "export-onnx, int8",
        f"export-onnx {MODEL} --output int8.onnx --int8 --calibrate ../inputs/faces --num-calibrate 8 --num-faces 4 "
        "--bound -1",
        "int8.onnx",
    ),
    Case("export-onnx, OpenVINO", f"export-onnx {MODEL} --output openvino.xml", "openvino.bin"),
    Case("export-ncnn", f"export-ncnn {MODEL} --output ncnn", "ncnn.param ncnn.bin"),
    Case("export-ncnn, float16", f"export-ncnn {MODEL} --output half --dtype float16", "half.param half.bin"),
    Case(
        "embed, MXNet", f"embed {MODEL} --input set/train.rec --output mxnet.npz --flip sum --engine mxnet", "mxnet.npz"
    ),
    Case(
        "embed, ONNX Runtime",
        f"embed {MODEL} --input ../inputs/faces --output onnx.npz --engine onnxruntime",
        "onnx.npz",
    ),
    Case("embed, ncnn", "embed --model ncnn.param --input ../inputs/faces --output ncnn.npz", "ncnn.npz"),
]

REAL_CASES = [
    Case("real faces: dir2lst", "dir2lst ../inputs/real/johns real.lst", "real.lst"),
    Case("real faces: face2rec", "face2rec real.lst --output real", "real/*"),
    Case("real faces: dataset-check", "dataset-check real --deep --json check-real.json", "check-real.json"),
    Case(
        "real faces: verification",
        f"verification {REAL} --pairs ../inputs/real/pairs.csv --image-root ../inputs/real/lfw "
        "--json verified-real.json",
        "verified-real.json",
    ),
    Case("real faces: embed", f"embed {REAL} --input real/train.rec --output real.npz --flip sum", "real.npz"),
    Case("real network: model-slim --fold-bn", f"model-slim {REAL} --output real-folded --fold-bn", "real-folded-*"),
    Case(
        "real network: export-onnx, int8",
        f"export-onnx {REAL} --output real-int8.onnx --int8 --calibrate real/train.rec --num-calibrate 8 --num-faces 4",
        "real-int8.onnx",
    ),
    Case("real network: export-ncnn", f"export-ncnn {REAL} --output real_ncnn", "real_ncnn.param real_ncnn.bin"),
]
