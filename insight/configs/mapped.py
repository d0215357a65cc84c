"""The keys of a config.py as options of ``train-softmax`` and ``train-triplet``.

=======================================  ==========================================================
key                                      option
=======================================  ==========================================================
InsightFace's, of one meaning            ``SAME``, under our name
``net_…``, ``num_layers``                of networks, :mod:`insight.configs.choices`
``loss_…``                               of losses, :mod:`insight.configs.choices`
our option's name with underscores       that option, ``warmup`` for ``--warmup``
=======================================  ==========================================================

Every other key is named in a note: it has no meaning here, the chosen entries do not read it, or it is unknown.
"""

from __future__ import annotations

import dataclasses
import os
import re
from typing import Any, Dict, List, Mapping

from .. import nets, objectives
from ..errors import InsightError
from ..formats.property import NAME, read_property
from ..train.train_options import DECLARED, TrainOptions
from . import choices
from .typedvalues import as_whole
from .userfile import Joined

# InsightFace's key: our option.
SAME = {
    "dataset_path": "data_dir",
    "val_targets": "target",
    "data_rand_mirror": "rand_mirror",
    "data_cutoff": "cutoff",
    "data_color": "color",
    "data_images_filter": "images_filter",
    "data_num_workers": "num_workers",  # ours: `num_workers` is a number of hosts there
}
# Options that a key of their own name does not set: InsightFace has another key for them, or another use of the name.
NOT_BY_NAME = {"network", "pretrained", "resume", "num_workers", "data_dir", "image_size"}
WITHOUT_MEANING = {
    *("ce_loss", "ckpt_embedding", "count_flops", "is_shuffled_rec", "kvstore", "log_dir", "memonger", "workspace")
}
DOCUMENT = "docs/config.md"
FIELDS = {field.name: field.default for field in dataclasses.fields(TrainOptions)}
COMMON = [name for name in FIELDS if name not in {option.name for option in DECLARED}]


@dataclasses.dataclass
class Mapped:
    """Options of a run, and where they come from.

    Attributes
    ----------
    values : dict
        Option of :class:`~insight.train.train_options.TrainOptions` to its value; options that are left at their
        default are missing.
    origins : dict
        Option to the place in the file, for messages. Options of the command line are missing.
    notes : list of str
        Keys without effect, and numbers of the file that the set does not have.
    """

    values: Dict[str, Any] = dataclasses.field(default_factory=dict)
    origins: Dict[str, str] = dataclasses.field(default_factory=dict)
    notes: List[str] = dataclasses.field(default_factory=list)

    def options(self) -> TrainOptions:
        """As the trainer takes them.

        Raises
        ------
        InsightError
            A value is not possible; the message says where it comes from.
        """
        try:
            return TrainOptions(**self.values)
        except InsightError as error:
            raise self.placed(error) from None

    def components(self) -> TrainOptions:
        """The options that select components, with the others at their defaults."""
        selecting = ("network", "loss_type", "classification_loss", "sampler")
        chosen = {name: self.values[name] for name in selecting if name in self.values}
        return TrainOptions(**{"data_dir": ".", **chosen})

    def own_defaults(self) -> Dict[str, Any]:
        """The options that the network, the loss and the sampler declare, with their own defaults."""
        options = self.components()
        of_network = {option.name: option.default for option in nets.family(options.network).OPTIONS}
        return {**choices.sampler_defaults(options), **of_network, **objectives.own_defaults(options)}

    def leave_defaults(self) -> None:
        """Remove options of components that have the component's own default, as if they had not been given."""
        for name, default in self.own_defaults().items():
            if name in self.values and self.values[name] == default:
                del self.values[name]

    def placed(self, error: InsightError) -> InsightError:
        """An error that begins with an option or the set's folder, with the place in the file that this is from."""
        option = re.match(r"--([a-z][a-z0-9-]*)", str(error))
        name = option.group(1).replace("-", "_") if option else ""
        if str(error).startswith(f"{self.values.get('data_dir')}:"):
            name = "data_dir"
        return type(error)(f"{self.origins[name]}: {error}") if name in self.origins else error


def mapped(joined: Joined, typed: Mapping[str, Any]) -> Mapped:
    """The options that joined tables and a command line stand for.

    Parameters
    ----------
    joined : Joined
    typed : mapping
        What the command line has, by destination: options of ours, and those of train.py that have no option here.
        They prevail over the file.

    Raises
    ------
    InsightError
        A value has the wrong type, or is not possible here.
    """
    reader = choices.KeyReader(joined)
    found = Mapped(reader.values, reader.origins)
    reader.network()
    reader.loss()
    for key, option in SAME.items():
        reader.take(key, option)
    _where(reader, typed)
    _numbers(reader)
    _own(reader, found)
    _of_train_py(found, typed)
    for name in (set(FIELDS) & set(typed)) - {"network"}:  # that one is an entry's name
        found.origins.pop(name, None)
        if name != "pretrained":
            found.values[name] = typed[name]
    found.leave_defaults()
    found.notes += _of_the_set(reader, found)
    found.notes += _without_effect(reader)
    return found


def _where(reader: choices.KeyReader, typed: Mapping[str, Any]) -> None:
    """The prefix of checkpoints, and the checkpoint that the run starts from."""
    parts = [reader.joined.names.folder, typed.get("extra_model_name")]
    root = typed.get("models_root", reader.get("models_root", str, "./models"))
    reader.values["prefix"] = os.path.join(root, "-".join(filter(None, parts)), "model")
    in_file = {
        "pretrained": reader.get("pretrained", str, ""),
        "pretrained_epoch": reader.get("pretrained_epoch", int, 1),
    }
    prefix, epoch = ({**in_file, **typed}[key] for key in in_file)
    numbered = re.fullmatch(r"(.+),(\d+)", prefix)  # as the samples of 2019 and the README write it
    if numbered and "pretrained_epoch" in typed:
        raise InsightError(f"--pretrained-epoch {epoch}: {prefix} has a number already; give one of them")
    prefix, epoch = numbered.groups() if numbered else (prefix, epoch)
    if prefix:
        prefix = os.path.join(prefix, "model") if os.path.isdir(prefix) else prefix  # as the README writes it
        reader.set("pretrained", f"{prefix},{epoch}", "pretrained")


def _numbers(reader: choices.KeyReader) -> None:
    """Keys that describe the set or the machine."""
    shape = reader.get("image_shape", list)
    if shape is not None:
        sides = [as_whole(side) for side in shape]
        if len(sides) != 3 or sides[2] != 3 or None in sides:
            raise InsightError(f"{reader.at('image_shape')} {shape}: want (height, width, 3), images in colour")
        reader.set("image_size", f"{sides[0]},{sides[1]}", "image_shape")
    if reader.get("fp16", bool, False):
        reader.set("dtype", "float16", "fp16")
    hosts = reader.get("num_workers", int, 1)
    if hosts > 1:
        raise InsightError(
            f"{reader.at('num_workers')} {hosts} (DMLC_NUM_WORKER): not possible here, a run is on one machine; unset "
            "the variable"
        )
    if reader.get("flip_noise_prob", float, 0.0):
        raise InsightError(f"{reader.at('flip_noise_prob')}: labels cannot be changed at random here; leave it out")


def _own(reader: choices.KeyReader, found: Mapped) -> None:
    """Keys that are named as options of ours; of components' options, those that the chosen ones declare."""
    for field in COMMON:
        if field not in NOT_BY_NAME:
            reader.take(field, field)
    for name in found.own_defaults():
        if name not in COMMON:
            reader.take(name, name)


def _of_train_py(found: Mapped, typed: Mapping[str, Any]) -> None:
    """Options of train.py and train_parall.py that are no options of ours."""
    if typed.get("fp16_scale", 0) > 0 and "dtype" not in typed:
        found.values["dtype"] = "float16"
        found.origins.pop("dtype", None)
        found.notes.append(f"--fp16-scale {typed['fp16_scale']:g}: float16, whose loss is scaled automatically here")


def _without_effect(reader: choices.KeyReader) -> List[str]:
    """One line for each kind of key that was not read."""
    joined, notes = reader.joined, []
    path, names = joined.file.path, joined.names
    unread = [key for key in joined.values if key not in reader.read]
    nothing = [key for key in unread if key in WITHOUT_MEANING]
    neutral = {**{name: (default, None) for name, default in FIELDS.items()}, **choices.NEUTRAL}
    others = [key for key in unread if key in neutral]
    idle = [key for key in others if joined.values[key] not in neutral[key]]
    unknown = [key for key in unread if key not in nothing + others]
    if nothing:
        notes.append(f"{path}: keys without a meaning here: {', '.join(sorted(nothing))} ({DOCUMENT})")
    if idle:
        listed = ", ".join(f"{key} {joined.values[key]}" for key in sorted(idle))
        notes.append(f"{path}: network {names.network} and loss {names.loss} do not read {listed}")
    if joined.shadowed:
        listed = ", ".join(f"config.{key}" for key in sorted(joined.shadowed))
        notes.append(f"{path}: {listed}: not read, the value in default or in an entry counts")
    if unknown:
        listed = ", ".join(sorted(unknown))
        notes.append(f"{path}: unknown keys, ignored: {listed}; known are InsightFace's and options of this command")
    return notes


def _of_the_set(reader: choices.KeyReader, found: Mapped) -> List[str]:
    """The number of classes is the set's; a note where the file has another one."""
    classes = reader.get("num_classes", int)
    folder = found.values.get("data_dir", "")
    if classes is None or not os.path.isfile(os.path.join(folder, NAME)):
        return []
    actual = read_property(folder).num_classes
    if classes == actual:
        return []
    return [f"{reader.at('num_classes')} {classes}: the set has {actual} ({folder}/{NAME}), which are used"]
