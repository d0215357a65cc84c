"""``gluoncv:NAME``: a classification backbone from gluoncv with an embedding output.

The backbone consists of NAME's features without the pooling, flattening and dropout at their end, so that the output
gets the last feature map, as in InsightFace's networks. Pixels are normalised as there. Weights are not pretrained.
Names of arrays and nodes are those of the first network that gluoncv builds in a process (``mobilenet0_conv0_weight``),
regardless of what was built before. gluoncv is imported only if such a network is used.
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
CLASSES = 2  # outputs of the classifier, which is removed


class GluonCV(Network):
    """One backbone from gluoncv; options and errors: :class:`insight.nets.network.Network`.

    The backbone's own activations are not changed: ``prelu`` applies to those of the output only.
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
        """Shape of the backbone's output for one image; sets the shapes of its arrays, which gluoncv leaves open."""
        features = forward_through(self.body, mx.sym.Variable("data"))
        known = {name: tuple(p.shape) for name, p in self.collect_params().items() if p.shape and min(p.shape) > 0}
        try:  # infer_shape would print all arguments to stdout before it raises
            shapes, (output,), more = features.infer_shape_partial(data=(1, 3, *self.image_size), **known)
        except mx.MXNetError as error:
            reason = next((line for line in str(error).splitlines() if "Error in operator" in line), str(error))
            size = "x".join(map(str, self.image_size))
            raise InsightError(f"gluoncv:{self.backbone} does not take {size} images: {reason.strip()[:200]}") from None
        array_shapes = dict(zip(features.list_arguments(), shapes))
        array_shapes.update(zip(features.list_auxiliary_states(), more))
        for name, parameter in self.collect_params().items():
            parameter.shape = array_shapes[name]
        return output

    def stage_of(self, name: str, shape: tuple) -> str:
        """The stage of a node: features by resolution, then the output."""
        return super().stage_of(name, shape) or (f"features {shape[2]}x{shape[3]}" if len(shape) == 4 else "")

    def hybrid_forward(self, F, x):
        return self.output(forward_through(self.body, normalise_pixels(x)))


def family(name: str) -> Type[GluonCV]:
    """The class of a backbone.

    Raises
    ------
    InsightError
        gluoncv is not installed or does not load, or has no such network; the message lists similar names.
    """
    known = _model_zoo().get_model_list()
    if name.lower() not in known:
        similar = difflib.get_close_matches(name.lower(), known, n=6, cutoff=0.4)
        raise InsightError(f"gluoncv has no network {name!r}; similar names: {', '.join(similar) or 'none'}")
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
    """The layers of a backbone in order, without classifier and pooling."""
    with mx.name.NameManager():  # new counters: always mobilenet0_, regardless of what was built before
        try:
            model = _model_zoo().get_model(name, classes=CLASSES, pretrained=False)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise InsightError(f"gluoncv:{name} is not an image classifier that can be built here: {error}") from None
        if "features" not in model._children:
            return [_cut(name, model)]
    layers = list(model.features._children.values())
    while layers and isinstance(layers[-1], POOLINGS):
        layers.pop()
    return layers


def _cut(name: str, model) -> mx.gluon.SymbolBlock:
    """The graph of a network without ``features``, up to the input of the pooling before its classifier."""
    data = mx.sym.Variable("data")
    try:
        scores = model(data)
    except (TypeError, ValueError, AttributeError, mx.MXNetError) as error:
        raise InsightError(f"gluoncv:{name} is not an image classifier that can be built here: {error}") from None
    scores = scores[0] if isinstance(scores, (list, tuple)) else scores  # the others are auxiliary outputs
    while json.loads(scores.tojson())["nodes"][-1]["op"] in BEHIND_FEATURES:
        scores = scores.get_children()[0]
    return mx.gluon.SymbolBlock(scores, data, params=model.collect_params())
