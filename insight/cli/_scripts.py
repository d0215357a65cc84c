"""The flags of InsightFace's scripts that our commands take, by command; docs/migrating.md has the same table.

A flag of the same name and meaning is an option of the command, and is not listed.
Sources: deepinsight/insightface @4bc81321, @9fc3cc9c and @7fadd420.
"""

from __future__ import annotations

import os
from typing import Dict, List, Mapping

from ..errors import InsightError
from ._scriptflags import ANY_OTHER, SAID_NOTHING, Flag, Script, refuse_both, value_in

ON_CPU = "models are evaluated on the CPU; --device gpu:N takes a GPU"
ONE_PROCESS = "one process drives all devices of a machine"
LISTS = "it is for making lists, which dir2lst does"
NEVER_READ = "the script does not read it either"
CHECKPOINT = "`--model P,N`; N is 1 unless it is given"
DRY_RUN = Flag("--test", to="--dry-run", value=None, values={"0": SAID_NOTHING})
GPU = Flag("--gpu", ON_CPU)


def _without_channels(size: str) -> str:
    """``3,112,112`` as ``112,112``."""
    return size[2:] if size.count(",") == 2 and size.startswith("3,") else size


def _pairs_in(folder: str) -> str:
    return os.path.join(folder, "pairs.txt")


def _complete_ijb(typed: Mapping[str, str], line: List[str]) -> List[str]:
    """The checkpoint; with a script's way of naming it, also its default set and folders."""
    prefix, epoch = typed.get("--model-prefix"), typed.get("--model-epoch")
    if epoch is not None and prefix is None:
        raise InsightError(f"--model-epoch {epoch}: needs --model-prefix; or give --model PREFIX,{epoch}")
    model = f"{prefix},{epoch or 1}" if prefix is not None else typed.get("--model_file")
    if model is None and "--data_path" not in typed:
        return line
    if model is not None:
        refuse_both("--model_file" if prefix is None else "--model-prefix", "--model", line)
    named = [("--model", model), ("--target", "IJBC")]
    folder = os.path.join(typed.get("--data_path", ""), value_in(line, "--target") or "IJBC")
    named += [("--meta", os.path.join(folder, "meta"))]
    named += [("--images", os.path.join(folder, "loose_crop"))] if model is not None else []
    return [*line, *(f"{option}={value}" for option, value in named if value and value_in(line, option) is None)]


SCRIPTS: Dict[str, Script] = {
    "align-faces": Script(
        "align_lfw.py, align_megaface.py and others",
        (
            Flag("--input-dir", to="RAW"),
            Flag("--output-dir", to="OUT"),
            Flag("--name", "faces are found by the detector, in any set"),
        ),
    ),
    "benchmark": Script(
        "deploy/benchmark.py",
        (
            Flag("--gpu", "models are measured on the CPU"),
            *(Flag(name, "the network alone is measured") for name in ("--det", "--flip", "--threshold")),
        ),
    ),
    "dataset-clean": Script(
        "dataset_clean.py",
        (
            Flag("--input", to="SET"),
            DRY_RUN,
            Flag(
                "--mode",
                values={
                    "1": SAID_NOTHING,
                    ANY_OTHER: "keeps the largest cluster of DBSCAN there, which is not done here; leave --mode out: "
                    "images far from the centre and second people are dropped",
                },
            ),
        ),
    ),
    "dataset-merge": Script("dataset_merge.py", (DRY_RUN, Flag("--mode", NEVER_READ))),
    "face2rec": Script(
        "face2rec2.py",
        (
            Flag(
                "--list",
                values={
                    **dict.fromkeys(("False", "false", "0"), SAID_NOTHING),
                    ANY_OTHER: "makes a list there and packs nothing; `insight dir2lst DIR LST` does",
                },
                nargs="?",
            ),
            Flag("--exts", LISTS, nargs="+"),
            *(Flag(name, LISTS) for name in ("--chunks", "--train-ratio", "--test-ratio")),
            *(Flag(name, LISTS, nargs="?") for name in ("--recursive", "--shuffle")),
            Flag(
                "--color",
                "images are packed in colour",
                values={
                    "1": SAID_NOTHING,
                    "0": "packs unaligned images in grey there, here in colour; convert them before, or leave it out",
                },
            ),
            Flag("--pack-label", "labels are always packed", nargs="?"),
        ),
    ),
    "ijb": Script(
        "ijb_11.py, ijb_1n.py, ijb_evals.py",
        (
            Flag("--model-prefix", CHECKPOINT),
            Flag("--model-epoch", CHECKPOINT),
            GPU,
            Flag("--job", "--json F writes the figures"),
            Flag("-m --model_file", "`--model`"),
            Flag("-d --data_path", "`--meta DIR/IJBC/meta`, `--images DIR/IJBC/loose_crop`"),
            Flag("-s --subset", to="--target"),
            Flag("-b --batch_size", to="--batch-size"),
            Flag("-R --save_result", "--json F writes the figures"),
            Flag("-L --save_label", "--json F writes the figures", nargs=0),
            Flag("-E --save_embeddings", "embeddings are always kept, in --embeddings", nargs=0),
            Flag("-F --force_reload", "the lists are always read", nargs=0),
            Flag("-N --is_one_2_N", "`--protocol 1:N`", to="--protocol", value=lambda _: "1:N", nargs=0),
            Flag(
                "-B --is_bunch",
                values={
                    ANY_OTHER: "runs eight tests there; here, give the command again with each of --flip none, "
                    "--no-detector-score and --no-feature-norm: it takes seconds, the embeddings are kept"
                },
                nargs=0,
            ),
            Flag(
                "-P --plot_only",
                values={
                    ANY_OTHER: "draws earlier results there; here, the files that --json wrote are for `insight report`"
                },
                nargs="*",
            ),
        ),
        ("--model-prefix", "--model-epoch", "--model_file", "--data_path"),
        _complete_ijb,
    ),
    "make-bin": Script(
        "lfw2pack.py, build_eval_pack.py",
        (
            Flag("--data-dir", "`SOURCE`, with `/pairs.txt` behind it", to="SOURCE", value=_pairs_in),
            Flag("--output", to="BIN"),
            Flag("--gpu", "nothing is detected"),
            *(
                Flag(name, values={ANY_OTHER: "images are packed as they are; `insight align-faces` aligns them"})
                for name in ("--det-prefix", "--align-mode")
            ),
        ),
    ),
    "megaface": Script(
        "gen_megaface.py, remove_noises.py",
        (GPU, Flag("--image_size", "`--image-size H,W`, of 3,H,W", to="--image-size", value=_without_channels)),
    ),
    "rec2image": Script("rec2image.py", (Flag("--include", to="SOURCE"), Flag("--output", to="DIR"))),
    "train": Script("train.py, train_parall.py", (Flag("--kvstore", ONE_PROCESS), Flag("--worker-id", ONE_PROCESS))),
    "train-softmax": Script(
        "train_softmax.py",
        (
            Flag("--ce-loss", "the loss is always logged", nargs=0),
            Flag("--use-deformable", NEVER_READ),
            Flag("--scale", "the script replaces it by --beta, --gamma and --power"),
            Flag(
                "--version-multiplier",
                values={
                    **dict.fromkeys(("1", "1.0"), SAID_NOTHING),
                    ANY_OTHER: "is for the network m1, which does not exist here; `insight networks` lists others",
                },
            ),
        ),
    ),
    "train-triplet": Script(
        "train_triplet.py",
        (
            Flag(
                "--noise-sgd",
                values={
                    **dict.fromkeys(("0", "0.0"), SAID_NOTHING),
                    ANY_OTHER: "its optimizer fails there, and does not exist here; leave it out",
                },
            ),
        ),
    ),
    "verification": Script(
        "verification.py",
        (
            GPU,
            Flag(
                "--mode",
                values={
                    "0": SAID_NOTHING,
                    "1": "writes pictures of the wrong pairs there; here, `insight report` shows the hardest ones",
                    "2": "writes embeddings there; here, `insight embed --flip sum` does",
                    ANY_OTHER: "want 0, or leave it out",
                },
            ),
        ),
    ),
}
