"""``gluoncv:NAME``: a classification backbone of gluoncv's under an embedding output.

The backbone is what NAME holds before its classifier: its features without the pooling, flattening and dropout at
their end, so that the output sees the last feature map, as in InsightFace's own networks. Pixels are normalised as
there. Weights start fresh. Names of arrays and nodes are those that gluoncv gives a network built first in a process
(``mobilenet0_conv0_weight``), whatever was built before. gluoncv is imported only when one is asked for.
"""

from __future__ import annotations

import difflib
import json
from typing import ClassVar, Type

from .._mxnet import mx
from ..errors import InsightError
from . import outputs
from .layers import Style
from .network import Network, chain, forward_through, normalise_pixels

INSTALL = "pip install -e '.[gluoncv]'"
POOLINGS = (mx.gluon.nn.GlobalAvgPool2D, mx.gluon.nn.AvgPool2D, mx.gluon.nn.Flatten, mx.gluon.nn.Dropout)
BEHIND_FEATURES = ("FullyConnected", "Flatten", "Dropout", "Pooling", "Reshape", "squeeze")
CLASSES = 2  # of the classifier that is thrown away


class GluonCV(Network):
    """One backbone of gluoncv's; options and errors: :class:`insight.nets.network.Network`.

    Its own activations are left as they are: ``prelu`` is about those of the output.
    """

    OPTIONS: ClassVar = (outputs.output_option(),)
    REFUSED = outputs.REFUSED
    STAGES = (("output", "conv_6dw|pre_fc1|fc1|bn1$|bn6|bnf|convf|convx|relu1$|reluf|pool1$"),)
    backbone: ClassVar[str]

    def __init__(self, embedding_size: int = 0, *common, **options):
        super().__init__(embedding_size, *common, **options)
        self.body = chain(self, *_layers(self.backbone))
        shape = self._shape()
        channels, size = shape[1], (*shape[2:], 1, 1)[:2]
        style = Style(self.prelu, self.momentum)
        self.output = outputs.Output(self.options["version_output"], channels, size, self.embedding_size, style)

    def _shape(self) -> tuple:
        """The backbone's output for one image; fixes the shapes of its arrays, which gluoncv leaves open."""
        features = forward_through(self.body, mx.sym.Variable("data"))
        known = {name: tuple(p.shape) for name, p in self.collect_params().items() if p.shape and min(p.shape) > 0}
        try:  # infer_shape would print every argument to stdout before it raises
            shapes, (output,), more = features.infer_shape_partial(data=(1, 3, *self.image_size), **known)
        except mx.MXNetError as error:
            reason = next((line for line in str(error).splitlines() if "Error in operator" in line), str(error))
            size = "x".join(map(str, self.image_size))
            raise InsightError(f"gluoncv:{self.backbone} does not take {size} images: {reason.strip()[:200]}") from None
        found = dict(zip(features.list_arguments(), shapes))
        found.update(zip(features.list_auxiliary_states(), more))
        for name, parameter in self.collect_params().items():
            parameter.shape = found[name]
        return output

    def stage_of(self, name: str, shape: tuple) -> str:
        """Its features by resolution, then the output."""
        return super().stage_of(name, shape) or (f"features {shape[2]}x{shape[3]}" if len(shape) == 4 else "")

    def hybrid_forward(self, F, x):
        return self.output(forward_through(self.body, normalise_pixels(x)))


def family(name: str) -> Type[GluonCV]:
    """The class of a backbone.

    Raises
    ------
    InsightError
        gluoncv is not installed or does not load, or has no such network; the message lists those of like names.
    """
    known = _model_zoo().get_model_list()
    if name.lower() not in known:
        near = difflib.get_close_matches(name.lower(), known, n=6, cutoff=0.4)
        raise InsightError(f"gluoncv has no network {name!r}; near it: {', '.join(near) or 'nothing'}")
    return type("GluonCV", (GluonCV,), {"backbone": name.lower(), "__module__": __name__})


def _model_zoo():
    try:
        import gluoncv.model_zoo
    except ImportError as error:
        if error.name and error.name.split(".")[0] == "gluoncv":
            raise InsightError(f"gluoncv is not installed; run: {INSTALL}") from None
        raise InsightError(f"gluoncv does not load: {error}; run: {INSTALL}") from None
    return gluoncv.model_zoo


def _layers(name: str) -> list:
    """The layers of a backbone in order, classifier and pooling left out."""
    with mx.name.NameManager():  # counters of its own: mobilenet0_ whatever was built before
        try:
            model = _model_zoo().get_model(name, classes=CLASSES, pretrained=False)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise InsightError(f"gluoncv:{name} is no image classifier that can be built here: {error}") from None
        if "features" not in model._children:
            return [_cut(name, model)]
    layers = list(model.features._children.values())
    while layers and isinstance(layers[-1], POOLINGS):
        layers.pop()
    return layers


def _cut(name: str, model) -> mx.gluon.SymbolBlock:
    """The graph of a network that keeps no ``features``, up to what is pooled for its classifier."""
    data = mx.sym.Variable("data")
    try:
        scores = model(data)
    except (TypeError, ValueError, AttributeError, mx.MXNetError) as error:
        raise InsightError(f"gluoncv:{name} is no image classifier that can be built here: {error}") from None
    scores = scores[0] if isinstance(scores, (list, tuple)) else scores  # others are auxiliary
    while json.loads(scores.tojson())["nodes"][-1]["op"] in BEHIND_FEATURES:
        scores = scores.get_children()[0]
    return mx.gluon.SymbolBlock(scores, data, params=model.collect_params())
