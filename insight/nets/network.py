"""What every family is: a network with the options that it was built with, and a plain twin."""

from __future__ import annotations

import re
from typing import ClassVar, Dict, Tuple

from .._mxnet import mx
from ..errors import InsightError
from ..options import Option, settle
from .layers import STEP_ONLY, HybridBlock

PIXEL_MEAN = 127.5
PIXEL_SCALE = 0.0078125


class Network(HybridBlock):
    """Base of the families: RGB images (N, 3, H, W) in 0..255 to raw embeddings (N, E).

    Parameters
    ----------
    embedding_size : int
        E, the length of an embedding; 0 takes the family's own.
    prelu : str
        The form in which its PReLUs train, one of ``PRELU_FORMS`` (:mod:`insight.nets.prelu`). Only ``plain`` is
        evaluated and saved; the others are for training.
    image_size : (int, int)
        Height and width of the images.
    batchnorm_momentum : float
        Share of the running statistics that a step keeps (``--bn-mom``).
    **options
        The family's own, see ``OPTIONS``; None takes the default.

    Attributes
    ----------
    OPTIONS : tuple of Option
        What the family declares; each becomes a flag of ``train-softmax`` and ``networks``.
    REFUSED : dict
        (option, value) that InsightFace's command line took, and why the family does not.
    PRELU_FORMS : tuple
    fastest_prelu, fastest_prelu_bfloat16 : str
        The form that trains fastest on MXNet's CPU, in float32 and in bfloat16.
    xavier : dict
        Arguments of ``mx.init.Xavier`` for first weights, as the recipe has them.

    Raises
    ------
    InsightError
        An option or a value is not of the family.
    """

    OPTIONS: ClassVar[Tuple[Option, ...]] = ()
    REFUSED: ClassVar[Dict[tuple, str]] = {}
    PRELU_FORMS: ClassVar[Tuple[str, ...]] = ("plain", "relus")
    fastest_prelu: ClassVar[str] = "relus"
    fastest_prelu_bfloat16: ClassVar[str] = "relus"
    xavier: ClassVar[dict] = {"rnd_type": "uniform", "factor_type": "in", "magnitude": 2}
    default_embedding_size: ClassVar[int] = 512
    STAGES: ClassVar[Tuple[Tuple[str, str], ...]] = ()  # (title, regular expression of node names), for summaries

    def __init__(
        self,
        embedding_size: int = 0,
        prelu: str = "plain",
        image_size: Tuple[int, int] = (112, 112),
        batchnorm_momentum: float = 0.9,
        **options,
    ):
        super().__init__(prefix="")
        family = type(self).__name__
        if prelu not in self.PRELU_FORMS:
            raise InsightError(f"{family} has no PReLU form {prelu!r}; it has: {', '.join(self.PRELU_FORMS)}")
        self.embedding_size = embedding_size or self.default_embedding_size
        self.prelu = prelu
        self.image_size = tuple(image_size)
        self.momentum = batchnorm_momentum
        self.options = settle(self.OPTIONS, options, family, self.REFUSED)

    def plain(self) -> Network:
        """The same network with the stock operators, for its graph; it owns no arrays until initialised."""
        common = {"image_size": self.image_size, "batchnorm_momentum": self.momentum}
        return type(self)(embedding_size=self.embedding_size, prelu="plain", **common, **self.options)

    def stage_of(self, name: str, shape: tuple) -> str:
        """The title of the stage that a node of the graph belongs to; empty where its name does not say.

        Parameters
        ----------
        name : str
        shape : tuple
            Of its output.
        """
        return next((title for title, pattern in self.STAGES if re.match(pattern, name)), "")

    def kept(self) -> dict:
        """The parameters that a checkpoint holds, by name."""
        return {name: p for name, p in self.collect_params().items() if STEP_ONLY not in name}


def normalise_pixels(x):
    """0..255 to about -1..1, inside the graph, as every InsightFace network does."""
    return (x - PIXEL_MEAN) * PIXEL_SCALE


def halved(size: Tuple[int, int], times: int = 1) -> Tuple[int, int]:
    """(height, width) behind convolutions of stride 2 whose padding keeps the borders: rounded up each time."""
    for _ in range(times):
        size = ((size[0] + 1) // 2, (size[1] + 1) // 2)
    return size


def chain(parent: mx.gluon.Block, *blocks: HybridBlock) -> tuple:
    """Register blocks as children and return them: Gluon finds attributes, not tuples."""
    for block in blocks:
        parent.register_child(block)
    return blocks


def forward_through(blocks, x):
    """Apply blocks in turn."""
    for block in blocks:
        x = block(x)
    return x
