"""What an entry of ``network`` and of ``loss`` selects: names and keys of InsightFace as options of ours."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Dict, Set, Tuple

from .. import nets
from ..errors import InsightError
from ..feed import samplers
from ..margins import margins
from ..nets.lresnet import UNITS
from ..objectives import kind, objectives
from ..objectives.triplet import RUN_DEFAULTS, Triplet
from ..train.train_options import TrainOptions
from .typedvalues import as_type
from .userfile import Joined

LRESNET, MOBILEFACENET = "fresnet", "fmobilefacenet"
LRESNET_KEYS = {
    "net_input": "version_input",
    "net_output": "version_output",
    "net_unit": "version_unit",
    "net_act": "version_act",
    "net_se": "version_se",
}
BLOCKS = {(1, 4, 6, 2): "y1", (2, 8, 16, 4): "y2"}  # net_blocks of MobileFaceNet
# The samples of 2019-01 name each loss with a margin, the later ones call them all margin_softmax.
WITH_MARGIN = ("margin_softmax", "nsoftmax", "arcface", "cosface", "combined")
MARGIN_KEYS = ("loss_m1", "loss_m2", "loss_m3")
TRIPLETS = {"triplet": "euclid", "atriplet": "angle"}  # the distance of the loss
WITH_LOSS_NAME = ("softmax", *WITH_MARGIN, *TRIPLETS)
# Keys that only some networks and losses read, and the values that change nothing.
NEUTRAL: Dict[str, tuple] = {
    "net_blocks": ([1, 4, 6, 2],),
    "net_input": (1,),
    "net_unit": (3,),
    "net_se": (0,),
    "net_act": ("prelu",),
    "net_output": ("E",),
    "net_multiplier": (1.0,),
    "num_layers": (1,),
    "densenet_dropout": (0.0,),
    "fc7_no_bias": (False,),
    "fc7_lr_mult": (1.0,),
    "loss_K": (1,),
    "loss_s": (-1.0,),
    "loss_m1": (0.0, 1.0),
    "loss_m2": (0.0,),
    "loss_m3": (0.0,),
    "loss_name": (),
    "triplet_bag_size": (),
}


TYPES: Dict[str, Any] = {
    field.name: field.metadata.get("type") or field.type for field in dataclasses.fields(TrainOptions)
}


class KeyReader:
    """Reads the keys of joined tables into options, and remembers which it read.

    Attributes
    ----------
    values, origins : dict
        Option to its value, and to where that is assigned.
    read : set of str
        Keys that were read.
    """

    def __init__(self, joined: Joined):
        self.joined = joined
        self.values: Dict[str, Any] = {}
        self.origins: Dict[str, str] = {}
        self.read: Set[str] = set()

    def at(self, key: str) -> str:
        """Where a key is assigned."""
        return self.joined.at(key)

    def get(self, key: str, kind: Any, default: Any = None) -> Any:
        """A key's value as a type; the default where the key is missing or None.

        Raises
        ------
        InsightError
            The value has another type.
        """
        self.read.add(key)
        value = self.joined.values.get(key)
        return default if value is None else as_type(value, kind, self.at(key))

    def set(self, option: str, value: Any, key: str) -> None:
        """Give an option its value, which a key has determined."""
        self.values[option] = value
        self.origins[option] = self.at(key) if key in self.joined.values else self.joined.file.path

    def take(self, key: str, option: str) -> None:
        """Give an option the value of a key, where there is one."""
        if key in self.joined.values:
            value = self.get(key, TYPES[option])
            if value is not None:
                self.set(option, value, key)

    def network(self) -> None:
        """Read ``network``, and the options that its entry has under InsightFace's names.

        Raises
        ------
        InsightError
            The entry names no network, or one that does not exist here.
        """
        name = self.get("net_name", str, "")
        if not name:
            raise InsightError(f"{self._missing('network')}; want {LRESNET}, {MOBILEFACENET} or a name of ours")
        if name == LRESNET:
            chosen = self._lresnet()
        elif name == MOBILEFACENET:
            chosen = self._mobilefacenet()
        elif name in nets.networks or name.startswith("gluoncv:"):
            chosen = name
        else:
            raise InsightError(
                f"{self.at('net_name')} {name!r}: not available here; want {LRESNET}, {MOBILEFACENET}, a name that "
                "`insight networks` lists, or gluoncv:NAME"
            )
        self.set("network", chosen, "net_name")

    def _lresnet(self) -> str:
        depth = self.get("num_layers", int)
        name = f"r{depth}"
        if depth is None or name not in nets.networks:
            known = ", ".join(map(str, sorted(UNITS)))
            place = self._missing("network", "num_layers") if depth is None else f"{self.at('num_layers')} {depth}"
            raise InsightError(f"{place}: not available here; want one of {known}")
        for key, option in LRESNET_KEYS.items():
            self.take(key, option)
        if "bottleneck" in {option.name for option in nets.family(name).OPTIONS}:
            self.set("bottleneck", 0, "num_layers")  # none below 500 layers in recognition/arcface_mxnet
        return name

    def _mobilefacenet(self) -> str:
        blocks = self.get("net_blocks", list, [1, 4, 6, 2])
        if tuple(blocks) not in BLOCKS:
            known = " or ".join(f"{list(key)} ({name})" for key, name in BLOCKS.items())
            raise InsightError(f"{self.at('net_blocks')} {blocks}: not available here; want {known}")
        activation = self.get("net_act", str, "prelu")
        if activation != "prelu":
            raise InsightError(f"{self.at('net_act')} {activation!r}: MobileFaceNet has prelu only here")
        self.take("net_output", "version_output")
        return BLOCKS[tuple(blocks)]

    def loss(self) -> None:
        """Read ``loss_type``, and the options that its entry has under InsightFace's names.

        Raises
        ------
        InsightError
            The entry names no loss, or one that does not exist here.
        """
        own = self.get("loss_type", str, "")
        name = "" if own else self.get("loss_name", str, "")
        if own in margins or own in objectives:
            self.set("loss_type", own, "loss_type")
        elif name == "softmax":
            self.set("loss_type", "0", "loss_name")
        elif name in WITH_MARGIN:
            self._margin()
        elif name in TRIPLETS:
            self._triplets(name)
        else:
            key, known = ("loss_type", [*margins, *objectives]) if own else ("loss_name", WITH_LOSS_NAME)
            place = f"{self.at(key)} {own or name!r}: not available here" if own or name else self._missing("loss")
            raise InsightError(f"{place}; want {', '.join(known)}")
        if self.values["loss_type"] in margins:
            if margins.get(self.values["loss_type"]).cosine:
                self.take("loss_K", "centres")
        elif issubclass(kind(self.values["loss_type"]), Triplet):
            self.values.update(RUN_DEFAULTS)

    def _margin(self) -> None:
        """Scale and margins."""
        self.set("margin_s", self._number("loss_s"), "loss_s")
        values = {key: self._number(key) for key in MARGIN_KEYS}
        loss_type, keys = margin_of(*values.values())
        self.set("loss_type", loss_type, "loss_name")
        for option, key in keys.items():
            self.set(option, values[key], key)

    def _number(self, key: str) -> float:
        value = self.get(key, float)
        if value is None:
            raise InsightError(f"{self._missing('loss', key)}; want loss_s, loss_m1, loss_m2 and loss_m3")
        return value

    def _missing(self, table: str, key: str = "") -> str:
        """For messages: the chosen entry lacks a key."""
        name = getattr(self.joined.names, table)
        key = key or {"network": "net_name", "loss": "loss_name"}[table]
        return f"{self.joined.file.at(table, name)}: has no {key}"

    def _triplets(self, name: str) -> None:
        """Triplets that are mined in bags."""
        self.set("loss_type", "triplet_bag", "loss_name")
        self.set("triplet_distance", TRIPLETS[name], "loss_name")


def margin_of(m1: float, m2: float, m3: float) -> Tuple[str, Dict[str, str]]:
    """The loss with the target logit ``cos(m1 t + m2) - m3``, and its options with the keys that they come from.

    CosFace and ArcFace where only m3 or only m2 acts, else the combined margin.
    """
    if m1 == 1 and m2 == 0 and m3 > 0:
        return "2", {"margin_m": "loss_m3"}
    if m1 == 1 and 0 < m2 < math.pi / 2 and m3 == 0:
        return "4", {"margin_m": "loss_m2"}
    return "5", {"margin_a": "loss_m1", "margin_m": "loss_m2", "margin_b": "loss_m3"}


def sampler_defaults(options: TrainOptions) -> Dict[str, Any]:
    """The options that a run's sampler declares, with their defaults."""
    return {option.name: option.default for option in samplers.samplers.get(options.sampler).OPTIONS}
