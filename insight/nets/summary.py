"""How large a network is: parameters and multiply-adds, in all and by stage.

Everything comes from the plain graph by shape inference; no array is allocated.
"""

from __future__ import annotations

import json
import math
import re
from typing import Dict, List, NamedTuple, Tuple

from . import create, networks, symbol

BYTES = 4  # of a float32


class NetworkStage(NamedTuple):
    """A part of a network.

    Attributes
    ----------
    title : str
    shape : tuple
        Of what it gives for one image: (C, H, W) or (E,).
    parameters : int
        Learned numbers.
    multiply_adds : int
        Of its convolutions and fully connected layers, for one image.
    """

    title: str
    shape: Tuple[int, ...]
    parameters: int
    multiply_adds: int


class Summary(NamedTuple):
    """A network's size.

    Attributes
    ----------
    name : str
    embedding_size : int
    parameters : int
        Learned numbers, without running statistics.
    multiply_adds : int
        Of convolutions and fully connected layers, for one image.
    file_bytes : int
        Of its arrays in float32, running statistics included.
    stages : list of NetworkStage
    """

    name: str
    embedding_size: int
    parameters: int
    multiply_adds: int
    file_bytes: int
    stages: List[NetworkStage]

    def as_dict(self) -> dict:
        """For JSON."""
        return {**self._asdict(), "stages": [stage._asdict() for stage in self.stages]}


def summarize(name: str, embedding_size: int = 0, **options) -> Summary:
    """The size of one network; the arguments and errors are :func:`insight.nets.create`'s."""
    network = create(name, embedding_size, **options)
    graph = symbol(network)
    internals = graph.get_internals()
    arguments, outputs, auxiliary = internals.infer_shape(data=(1, 3, *network.image_size))
    edges = dict(zip(internals.list_outputs(), outputs))
    held = dict(zip(internals.list_arguments(), arguments))
    held.pop("data")
    nodes = json.loads(graph.tojson())["nodes"]
    totals: Dict[str, list] = {}  # title: [shape, parameters, multiply-adds], in the order of the data
    titles: List[str] = []
    counted = set()
    for node in nodes:
        if node["op"] == "null":
            titles.append("")
            continue
        shape = edges.get(f"{node['name']}_output")
        title = network.stage_of(node["name"], shape) or _latest(totals, [titles[ref[0]] for ref in node["inputs"]])
        titles.append(title)
        stage = totals.setdefault(title, [None, 0, 0])
        stage[0] = shape[1:]
        names = [nodes[ref[0]]["name"] for ref in node["inputs"]]
        for array in names:
            if array in held and array not in counted:
                counted.add(array)
                stage[1] += math.prod(held[array])
        if node["op"] == "Convolution":
            stage[2] += math.prod(shape[1:]) * math.prod(held[names[1]][1:])
        elif node["op"] == "FullyConnected":
            stage[2] += math.prod(held[names[1]])
    stages = [NetworkStage(title, *values) for title, values in totals.items()]
    parameters = sum(stage.parameters for stage in stages)
    running = sum(math.prod(shape) for shape in auxiliary)
    work = sum(stage.multiply_adds for stage in stages)
    return Summary(name, network.embedding_size, parameters, work, BYTES * (parameters + running), stages)


def overview() -> List[Summary]:
    """Every registered network with its own options, by family and depth."""
    names = [name for name, _ in networks.components()]
    return [summarize(name) for name in sorted(names, key=_by_family_and_depth)]


def _by_family_and_depth(name: str) -> list:
    """Sorts r18, r100 and mbv3: numbers in a name count as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def _latest(totals: dict, titles: List[str]) -> str:
    """Of the stages that feed a node, the one that came last; the first of all where none does."""
    order = list(totals)
    known = [order.index(title) for title in titles if title]
    return order[max(known)] if known else "stem"
