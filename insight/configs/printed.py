"""Options of a run as a config.py, which :mod:`insight.configs.userfile` reads back to the same options."""

from __future__ import annotations

import dataclasses
import os
import textwrap
from typing import Any, Dict, Mapping, Optional

from .. import nets, objectives
from ..margins import margins
from ..nets.lresnet import LResNet
from ..nets.mobilefacenet import MobileFaceNet
from ..objectives.triplet import RUN_DEFAULTS, Triplet
from ..train.train_options import TrainOptions
from . import choices
from .mapped import COMMON, FIELDS, SAME
from .userfile import ConfigFile, Names

NAMES = Names("r50", "faces", "arcface")  # of the defaults
ROOT = "./models"
HEAD = '''"""Configuration of `insight train`, in the form of InsightFace's recognition/arcface_mxnet; it is Python.

insight train --config config.py --network {0.network} --dataset {0.dataset} --loss {0.loss}
"""

from easydict import EasyDict as edict
'''
JOIN = """

def generate_config(_network, _dataset, _loss):
    for entry in (loss[_loss], network[_network], dataset[_dataset]):
        for key, value in entry.items():
            config[key] = value
            if key in default:
                default[key] = value
    config.network, config.dataset, config.loss = _network, _dataset, _loss
"""
# Options that train.py takes from its command line, and so from `default`.
IN_DEFAULT = ("frequent", "verbose", "ckpt", "end_epoch", "per_batch_size", "lr", "lr_steps", "wd", "mom")
ELSEWHERE = {"network", "emb_size", "loss_type", "data_dir", "target", "image_size", "pretrained", "prefix", "resume"}
INSIGHTFACE_NAMES = {option: key for key, option in SAME.items()}
OF_INSIGHTFACE = ("bn_mom", "max_steps", "fc7_wd_mult", "rand_mirror", "cutoff", "color", "images_filter")
BASE = {"net_input": 1, "net_unit": 3, "net_se": 0, "net_act": "prelu", "net_output": "E", "net_blocks": [1, 4, 6, 2]}
SAMPLE_LOSSES = {"softmax": "0", "nsoftmax": "5", "arcface": "4", "cosface": "2", "combined": "5"}
SAMPLE_TRIPLETS = {"triplet": "triplet_bag", "atriplet": "triplet_bag", "triplet_batch": "triplet"}
WIDTH = 112


def defaults() -> ConfigFile:
    """The defaults of ``train-softmax`` and ``train-triplet``, as an executed config.py."""
    prefix = os.path.join(ROOT, NAMES.folder, "model")
    options = TrainOptions(data_dir="faces", prefix=prefix)
    return ConfigFile("insight's defaults", text(options, NAMES))


def text(options: TrainOptions, names: Names) -> str:
    """A config.py with all entries of ours, whose chosen ones and ``default`` stand for the given options.

    Parameters
    ----------
    options : TrainOptions
    names : Names
        Of the entries that are chosen.
    """
    values = {name: getattr(options, name) for name in COMMON}
    kind = objectives.kind(options.loss_type)
    if options.sampler == kind.sampler:
        values["sampler"] = ""  # each loss has its own
    if issubclass(kind, Triplet):  # its entry has them
        values.update((name, FIELDS[name]) for name in RUN_DEFAULTS)
    parts = [HEAD.format(names), _config(values), _networks(options, names.network), _datasets(options, names.dataset)]
    return "\n".join([*parts, _losses(options, names.loss), _default(values, names)]) + JOIN


def _config(values: Mapping[str, Any]) -> str:
    lines = ["config = edict()"]
    lines += [f"config.{INSIGHTFACE_NAMES.get(name, name)} = {values[name]!r}" for name in OF_INSIGHTFACE]
    lines += [f"config.{key} = {value!r}" for key, value in BASE.items()]
    lines += ["", "# options of insight, as in its train-softmax"]
    texts = {field.name: field.metadata.get("help", "") for field in dataclasses.fields(TrainOptions)}
    for name in COMMON:
        if name not in (*OF_INSIGHTFACE, *IN_DEFAULT, *ELSEWHERE):
            lines += [f"# {line}" for line in textwrap.wrap(texts[name], WIDTH)]
            lines.append(f"config.{INSIGHTFACE_NAMES.get(name, name)} = {values[name]!r}")
    return "\n".join([*lines, ""])


def _networks(options: TrainOptions, chosen: str) -> str:
    entries = {name: network_entry(name) for name in nets.networks}
    return _table("network", {**entries, chosen: network_entry(options.network, options)})


def network_entry(name: str, options: Optional[TrainOptions] = None) -> Dict[str, Any]:
    """The keys of an entry of ``network``.

    Parameters
    ----------
    name : str
        As registered, or gluoncv:NAME.
    options : TrainOptions, optional
        Of a run with this network; None: the network's own defaults.
    """
    family = nets.family(name)
    own = {option.name: option.default for option in family.OPTIONS}
    values = {**own, **_given(own, options)}
    entry: Dict[str, Any]
    if issubclass(family, LResNet):
        entry = {"net_name": choices.LRESNET, "num_layers": family.depth}
        read = choices.LRESNET_KEYS
        own["bottleneck"] = 0  # as InsightFace's, which has no key for it
    elif issubclass(family, MobileFaceNet):
        entry = {"net_name": choices.MOBILEFACENET, "net_blocks": list(family.BLOCKS)}
        read = {"net_output": "version_output"}
    else:
        entry, read = {"net_name": name}, {}
    entry["emb_size"] = options.emb_size if options else family.default_embedding_size
    entry.update((key, values[option]) for key, option in read.items())
    rest = [option for option in own if option not in read.values() and values[option] != own[option]]
    entry.update((option, values[option]) for option in rest)
    return {key: value for key, value in entry.items() if BASE.get(key) != value}


def _given(own: Mapping[str, Any], options: Optional[TrainOptions]) -> Dict[str, Any]:
    """Values of some options that are not left to the component."""
    values = {name: getattr(options, name, None) for name in own}
    return {name: value for name, value in values.items() if value is not None}


def _datasets(options: TrainOptions, chosen: str) -> str:
    entry = {"dataset": chosen, "dataset_path": options.data_dir, "val_targets": options.targets}
    if options.image_size:
        entry["image_shape"] = (*map(int, options.image_size.split(",")), 3)
    return _table("dataset", {chosen: entry})


def _losses(options: TrainOptions, chosen: str) -> str:
    known = [margins.get(number) for number in SAMPLE_LOSSES.values()]
    more = {name: name for name in margins if margins.get(name) not in known}
    entries = {
        name: loss_entry(_run(loss, name)) for name, loss in {**SAMPLE_LOSSES, **more, **SAMPLE_TRIPLETS}.items()
    }
    return _table("loss", {**entries, chosen: loss_entry(options)})


def _run(loss_type: str, name: str) -> TrainOptions:
    """A run with a loss of the samples, or one of ours with its defaults."""
    values: Dict[str, Any] = dict(RUN_DEFAULTS) if name in SAMPLE_TRIPLETS else {}
    if name == "nsoftmax":
        values["margin_m"] = 0.0
    if name == "atriplet":
        values["triplet_distance"] = "angle"
    return TrainOptions(data_dir=".", loss_type=loss_type, **values)


def loss_entry(options: TrainOptions) -> Dict[str, Any]:
    """The keys of an entry of ``loss``, for the loss of a run: InsightFace's keys where it has the loss, else ours."""
    own = {**objectives.own_defaults(options), **choices.sampler_defaults(options)}
    values = {**own, **_given(own, options)}
    changed = {name: value for name, value in values.items() if value != own[name]}
    if options.loss_type in margins:
        margin = margins.get(options.loss_type)
        sample = _as_sample(margin, values)
        shown = {option.name for option in margin.OPTIONS}
        sampled = {"margin_s", "margin_a", "margin_m", "margin_b"} if sample else ()
        ours = {name: value for name, value in values.items() if name in shown} if not sample else {}
        rest = {name: value for name, value in changed.items() if name not in sampled}
        return {**(sample or {"loss_type": options.loss_type}), **ours, **rest}
    run = {name: getattr(options, name) for name in RUN_DEFAULTS}
    names = {distance: name for name, distance in choices.TRIPLETS.items()}
    if options.loss_type == "triplet_bag":
        changed.pop("triplet_distance", None)
        kept = {"images_per_identity", "triplet_alpha", "triplet_bag_size", "triplet_max_ap"}
        keys = {name: value for name, value in values.items() if name in kept}
        return {"loss_name": names[values["triplet_distance"]], **keys, **changed, **run}
    return {"loss_type": options.loss_type, **changed, **run}


def _as_sample(margin: type, values: Mapping[str, Any]) -> Dict[str, Any]:
    """Scale and margins under InsightFace's keys; empty where these would be read as another loss."""
    number = next((n for n in ("0", "2", "4", "5") if margins.get(n) is margin), "")
    if number == "0":
        return {"loss_name": "softmax"}
    m = values.get("margin_m")
    three = {"2": (1.0, 0.0, m), "4": (1.0, m, 0.0), "5": (values.get("margin_a"), m, values.get("margin_b"))}
    if number not in three or choices.margin_of(*three[number])[0] != number:
        return {}
    m1, m2, m3 = three[number]
    return {"loss_name": "margin_softmax", "loss_s": values["margin_s"], "loss_m1": m1, "loss_m2": m2, "loss_m3": m3}


def _default(values: Mapping[str, Any], names: Names) -> str:
    keys: Dict[str, Any] = names._asdict()
    prefix, _, epoch = values["pretrained"].rpartition(",")
    keys.update(pretrained=prefix, pretrained_epoch=int(epoch or 1))
    keys.update((name, values[name]) for name in IN_DEFAULT)
    head, _, rest = values["prefix"].rpartition(os.path.join(os.sep, names.folder, "model"))
    keys["models_root"] = head if head and not rest else ROOT
    if not head or rest:
        keys["prefix"] = values["prefix"]
    return "\n".join(["default = edict()", *(f"default.{key} = {value!r}" for key, value in keys.items())])


def _table(name: str, entries: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [f"{name} = edict()", ""]
    for entry, keys in entries.items():
        place = f"{name}.{entry}" if entry.isidentifier() else f"{name}[{entry!r}]"
        lines += [f"{place} = edict()", *(f"{place}.{key} = {value!r}" for key, value in keys.items()), ""]
    return "\n".join(lines)
