"""Options of ``train-softmax`` and ``train-triplet``: one field each, with default, help, unit and checks.

The command-line flags are made from these fields (``add_flags`` in ``insight/cli/_training.py``), so help, names and
checks stay consistent. Options of samplers, networks, margins and objectives are declared in their own files
(:mod:`insight.options`) and become fields here. Flags that InsightFace has keep their names, defaults and meaning
(train_softmax.py, deepinsight/insightface@4bc81321 and @9fc3cc9c; train_triplet.py, @9fc3cc9c).
"""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

from .. import engines, nets, objectives
from ..errors import InsightError
from ..feed import samplers
from ..files.text import between_commas
from ..margins import margins
from ..options import Option, differences, given, is_finite, typed
from ..registry import declared_options

FIXED, FREE = "fixed", "free"  # whether a resumed run must use the same value


def _option(default, text: str, resume: str = FIXED, kind=None, choices: tuple = ()):
    metadata = {"help": text, "resume": resume, "type": kind or type(default), "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass
class _Common:
    """Options that every run has.

    Raises
    ------
    InsightError
        A value is outside its range, or an option has no effect with the others.
    """

    # data
    data_dir: str = _option(
        "", "folder of the training set: one .rec, its .idx and property; targets' .bin beside it", FREE
    )
    image_size: str = _option("", "height,width that the set must have; none: what its property says")
    images_filter: int = _option(0, "leave out identities with fewer images than this; labels stay as they are")
    rand_mirror: int = _option(1, "1: mirror each image with probability 1/2")
    color: int = _option(
        0, "1: jitter brightness, contrast, saturation; 2: first recompress half of the images as JPEG"
    )
    cutoff: int = _option(0, "side of a square that is greyed out in half of the images, pixels")
    degrade: float = _option(
        0.0, "probability of each of three losses of quality: a crop on black, few pixels, other light (AdaFace: 0.2)"
    )
    num_workers: int = _option(2, "threads that decode images", FREE)
    sampler: str = _option(
        "", "which images each batch holds; shuffled: each image once an epoch; none: what the loss needs"
    )
    # network
    network: str = _option("r50", "network, by its registered name (insight networks), or gluoncv:NAME")
    emb_size: int = _option(512, "embedding length E")
    bn_mom: float = _option(0.9, "share of the running statistics that a step keeps")
    dtype: str = _option(
        "float32",
        "what the network computes in; weights and head stay float32",
        choices=("float32", "float16", "bfloat16"),
    )
    # loss
    loss_type: str = _option(
        "4",
        "margin, by number or name: 0 softmax, 1 sphereface, 2 cosface, 4 arcface, 5 combined, …; or an objective; "
        "none: the --teacher alone",
    )
    # teacher
    teacher: str = _option(
        "",
        "learn from the embeddings of this network too: prefix,epoch, .onnx, .xml, or an .npz that `insight embed` "
        "made of this set",
        FREE,
    )
    teacher_weight: Optional[float] = _option(
        None, "weight of 1 - cos(network, teacher); none: 14, with --adadistill 0", kind=float
    )
    teacher_flips: str = _option(
        "auto",
        "both: mirrored images have embeddings of their own; one: they have those of the plain images; auto: both, "
        "where images are mirrored",
        choices=("auto", "both", "one"),
    )
    teacher_file: str = _option(
        "", "where the embeddings of a --teacher model are kept, .npz; none: PREFIX-teacher.npz", FREE
    )
    teacher_live: bool = _option(
        False,
        "the teacher embeds each batch as the network sees it, augmented, instead of the plain images once; costs its "
        "forward pass in each step, for sets of few images",
    )
    teacher_features: float = _option(
        0.0,
        "with --teacher-live: weight of the relative squared error of the features that the stages end with; 0: none",
    )
    adadistill: bool = _option(
        False, "class centres are not trained, but adapted from the teacher's embeddings (AdaDistill)"
    )
    # rate and length
    lr: float = _option(0.1, "learning rate at the start")
    lr_schedule: str = _option("step", "how the rate falls", choices=("step", "cosine", "poly"))
    lr_steps: str = _option("", "where a step schedule falls to a tenth, comma-separated; none: scaled to the batch")
    lr_unit: str = _option("steps", "unit of --lr-steps and --warmup", choices=("steps", "epochs", "samples"))
    lr_power: float = _option(2.0, "exponent of the poly schedule")
    warmup: float = _option(0.0, "the rate rises to --lr over so much, in --lr-unit")
    max_steps: int = _option(
        0, "steps to train; 0: a quarter past the last of the default or given --lr-steps; of triplets 30000", FREE
    )
    end_epoch: int = _option(100000, "epochs to train at most", FREE)
    per_batch_size: int = _option(128, "images a step and device")
    wd: float = _option(5e-4, "weight decay")
    mom: float = _option(0.9, "momentum of SGD")
    fc7_wd_mult: float = _option(1.0, "weight decay of fc7 and of the embedding's FC, as a multiple of --wd")
    freeze_backbone_steps: int = _option(0, "for so many steps train fc7 only")
    clip_norm: float = _option(
        0.0, "scale the network's gradient, of the batch's mean loss, down to this norm where it is longer; 0: never"
    )
    ema: float = _option(
        0.0, "average the network's weights with this decay, such as 0.9995; verified and saved as PREFIX-ema; 0: not"
    )
    seed: int = _option(0, "seed of weights, order and augmentation")
    devices: str = _option("", "such as 0,1 (GPUs), cpu, or cpu,cpu; none: all GPUs that MXNet sees, else the CPU")
    # checkpoints, verification and log
    prefix: str = _option(
        "../model/model", "checkpoints are written as PREFIX-0001.params beside PREFIX-symbol.json", FREE
    )
    pretrained: str = _option("", "start from this checkpoint, prefix,epoch; arrays are taken by name and shape")
    resume: bool = _option(False, "go on where the run of this --prefix was stopped, to the same bits", FREE)
    save_every: int = _option(
        500, "steps between two states that --resume can start from; 0: at verifications only", FREE
    )
    ckpt: int = _option(
        1, "which verifications save: 0 none, 1 each new best, 2 every one, 3 as 1 under number 1", FREE
    )
    verbose: int = _option(2000, "steps between two verifications", FREE)
    max_fall: float = _option(
        0.0,
        "stop if the accuracy on a verification set of 200 pairs or more falls more percentage points than this below "
        "that before the first step; a note at a tenth of it; 0: never",
        FREE,
    )
    target: str = _option("lfw,cfp_fp,agedb_30", "verification sets: names of .bin files in --data-dir", FREE)
    frequent: int = _option(20, "steps between two log lines", FREE)

    def __post_init__(self):
        if not self.data_dir:
            raise InsightError("--data-dir: name the folder of the training set, the one that face2rec wrote")
        for field in dataclasses.fields(_Common):
            self._require(field.name, is_finite(getattr(self, field.name)), "must be a finite number")
        for name in ("verbose", "end_epoch", "per_batch_size", "frequent", "emb_size", "num_workers"):
            self._require(name, getattr(self, name) > 0, "must be at least 1")
        at_least_0 = (
            "max_steps",
            "seed",
            "save_every",
            "freeze_backbone_steps",
            "images_filter",
            "cutoff",
        )
        for name in (*at_least_0, "wd", "fc7_wd_mult", "warmup", "max_fall", "clip_norm"):
            self._require(name, getattr(self, name) >= 0, "must be 0 or more")
        self._require("ckpt", self.ckpt in (0, 1, 2, 3), "must be 0, 1, 2 or 3")
        self._require("color", self.color in (0, 1, 2), "must be 0, 1 or 2")
        for name in ("lr", "lr_power"):
            self._require(name, getattr(self, name) > 0, "must be above 0")
        self._require("mom", 0 <= self.mom < 1, "must be in 0 <= mom < 1")
        self._require("ema", 0 <= self.ema < 1, "must be in 0 <= ema < 1")
        self._require("bn_mom", 0 <= self.bn_mom < 1, "must be in 0 <= bn-mom < 1")
        for field in dataclasses.fields(_Common):
            known = field.metadata["choices"]
            self._require(field.name, not known or getattr(self, field.name) in known, f"must be {' or '.join(known)}")
        self._check_teacher()
        self.sampler = self.sampler or objectives.kind(self.loss_type).sampler

    def _require(self, name: str, holds: bool, rule: str) -> None:
        if not holds:
            raise InsightError(f"{typed(flag(name), getattr(self, name))}: {rule}")

    def _check_teacher(self) -> None:
        """Refuse options of the teacher that have no effect."""
        weight = self.teacher_weight
        self._require("teacher_weight", weight is None or weight >= 0, "must be 0 or more")
        for name in (
            "teacher_weight",
            "teacher_flips",
            "teacher_file",
            "teacher_live",
            "teacher_features",
            "adadistill",
        ):
            default = getattr(_Common, name)
            self._require(name, self.teacher or getattr(self, name) == default, "does nothing without a --teacher")
        stored = self.teacher.lower().endswith(".npz")
        made = not self.teacher_file or not stored
        self._require("teacher_file", made, f"--teacher {self.teacher} is such a file; leave one of them out")
        self._require("teacher_features", self.teacher_features >= 0, "must be 0 or more")
        needs_live = "does nothing without --teacher-live: features are of images as augmented"
        self._require("teacher_features", self.teacher_live or not self.teacher_features, needs_live)
        if not self.teacher_live:
            return
        if stored:
            raise InsightError(
                f"--teacher-live: --teacher {self.teacher} has embeddings of plain images; name the model they are of"
            )
        if self.teacher_features and not engines.is_checkpoint(self.teacher):
            raise InsightError(
                f"--teacher-features: --teacher {self.teacher} gives embeddings only; name a checkpoint, prefix,epoch"
            )
        for name in ("teacher_flips", "teacher_file"):
            self._require(name, getattr(self, name) == getattr(_Common, name), "does nothing with --teacher-live")

    @property
    def targets(self) -> list:
        """Names in ``--target``, in order."""
        return between_commas(self.target)

    @property
    def network_options(self) -> dict:
        """Options of the networks that were given, by name."""
        return given(nets.options(COMMANDS_OWN), vars(self))

    def differences(self, earlier: dict) -> list:
        """Describe options that differ from the earlier run's although a resumed run must not change them."""
        fixed = [field.name for field in dataclasses.fields(_Common) if field.metadata["resume"] == FIXED]
        if self.lr_schedule != "step":
            fixed += ["max_steps", "end_epoch"]  # the rate depends on the length
        common = [Option(field.name, field.default, "") for field in dataclasses.fields(_Common) if field.name in fixed]
        own = objectives.own_defaults(self)  # values that options without a common default stand for
        records = [
            {**record, **{name: default for name, default in own.items() if record.get(name) in (None, "")}}
            for record in (vars(self), earlier)
        ]
        return differences((*common, *DECLARED), *records)

    @classmethod
    def from_args(cls, args: argparse.Namespace, **values: Any) -> _Common:
        """Create the options from a parsed command line; ``values`` are those that the command sets itself."""
        given_fields = (field.name for field in dataclasses.fields(cls) if field.name not in values)
        return cls(**{name: getattr(args, name) for name in given_fields}, **values)


def flag(name: str) -> str:
    """Command-line flag of a field."""
    return "--" + name.replace("_", "-")


def _declared() -> Dict[str, Tuple[Option, ...]]:
    """Options of components, by the option that they follow in --help; a shared option is listed once."""
    registries = (samplers.samplers, nets.networks, objectives.objectives, margins)
    declared_options(*registries, taken=COMMANDS_OWN)  # refuses plugins that redeclare an option with another type
    names: set = set()
    declared = {}
    for behind, of in (("sampler", samplers), ("emb_size", nets), ("loss_type", objectives)):
        options = of.options(COMMANDS_OWN)
        declared[behind] = tuple(option for option in options if option.name not in names)
        names |= {option.name for option in options}
    return declared


COMMANDS_OWN = {field.name for field in dataclasses.fields(_Common)} | {"estimate", "help", "mining"}
DECLARED_BEHIND = _declared()
DECLARED = tuple(option for options in DECLARED_BEHIND.values() for option in options)
TrainOptions = dataclasses.make_dataclass(
    "TrainOptions",
    [(option.name, option.value_type, option.default) for option in DECLARED],
    bases=(_Common,),
    namespace={"__doc__": "Options of one training stage; see each field's help.", "__module__": __name__},
)
