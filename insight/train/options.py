"""Every option of ``train-softmax``: one field, its default, its meaning and unit.

The command line is made from these fields, so help, names and checks cannot drift apart.
Flags that InsightFace had keep their names, defaults and meaning
(train_softmax.py, deepinsight/insightface@4bc81321).
"""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass

from ..errors import InsightError


def _option(default, text: str):
    return dataclasses.field(default=default, metadata={"help": text})


@dataclass
class TrainOptions:
    """Options of one training stage; see each field's help."""

    data_dir: str = _option("", "folder of the training set: one .rec, its .idx and property; targets' .bin beside it")
    prefix: str = _option("../model/model", "checkpoints are written as PREFIX-0001.params beside PREFIX-symbol.json")
    pretrained: str = _option("", "start from this checkpoint, prefix,epoch; arrays are taken by name and shape")
    ckpt: int = _option(1, "which verifications save: 0 none, 1 each new best, 2 every one, 3 as 1 under number 1")
    loss_type: str = _option("4", "head, by number or name: 0 softmax, 4 arcface")
    verbose: int = _option(2000, "steps between two verifications")
    max_steps: int = _option(0, "steps to train; 0: a quarter past the last step of --lr-steps")
    end_epoch: int = _option(100000, "epochs to train at most")
    network: str = _option("y1", "network, by its registered name")
    emb_size: int = _option(512, "embedding length E")
    per_batch_size: int = _option(128, "images a step")
    lr: float = _option(0.1, "learning rate at the start")
    lr_steps: str = _option("", "steps at which the rate falls to a tenth, comma-separated; none: scaled to the batch")
    wd: float = _option(5e-4, "weight decay")
    fc7_wd_mult: float = _option(1.0, "weight decay of fc7 and of the embedding's FC, as a multiple of --wd")
    fc7_no_bias: bool = _option(False, "loss type 0 without a bias in fc7, as MobileFaceNet's recipe has it")
    mom: float = _option(0.9, "momentum of SGD")
    bn_mom: float = _option(0.9, "share of the running statistics that a step keeps")
    margin_m: float = _option(0.5, "margin: radians for arcface")
    margin_s: float = _option(64.0, "scale of the cosine logits")
    easy_margin: int = _option(0, "arcface: 1 applies the margin only where the target cosine is positive")
    rand_mirror: int = _option(1, "1: mirror each image with probability 1/2")
    target: str = _option("lfw,cfp_fp,agedb_30", "verification sets: names of .bin files in --data-dir")
    seed: int = _option(0, "seed of weights, order and augmentation")
    num_workers: int = _option(2, "threads that decode images")
    frequent: int = _option(20, "steps between two log lines")

    def __post_init__(self):
        if not self.data_dir:
            raise InsightError("--data-dir: name the folder of the training set, the one that face2rec wrote")
        positive = ("verbose", "end_epoch", "per_batch_size", "frequent", "emb_size", "num_workers")
        for name in positive:
            self._require(name, getattr(self, name) > 0, "must be at least 1")
        self._require("ckpt", self.ckpt in (0, 1, 2, 3), "must be 0, 1, 2 or 3")
        self._require("lr", self.lr > 0, "must be above 0")
        self._require("max_steps", self.max_steps >= 0, "must be 0 or more")
        self._require("mom", 0 <= self.mom < 1, "must be in 0 <= mom < 1")
        self._require("bn_mom", 0 <= self.bn_mom < 1, "must be in 0 <= bn-mom < 1")
        self._require("seed", self.seed >= 0, "must be 0 or more")
        for name in ("wd", "fc7_wd_mult"):
            self._require(name, getattr(self, name) >= 0, "must be 0 or more")

    def _require(self, name: str, holds: bool, rule: str) -> None:
        if not holds:
            raise InsightError(f"--{name.replace('_', '-')} {getattr(self, name)}: {rule}")

    @property
    def targets(self) -> list:
        """Names in --target, in order."""
        return [name.strip() for name in self.target.split(",") if name.strip()]

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """One flag a field; a False default makes a switch."""
        for field in dataclasses.fields(cls):
            flag = "--" + field.name.replace("_", "-")
            if field.default is False:
                parser.add_argument(flag, action="store_true", help=field.metadata["help"])
            else:
                parser.add_argument(
                    flag, type=type(field.default), default=field.default, help=field.metadata["help"], metavar="X"
                )

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> TrainOptions:
        """The options that a parsed command line holds."""
        return cls(**{field.name: getattr(args, field.name) for field in dataclasses.fields(cls)})
