"""The embedding outputs: what stands between the last feature map and the embedding (``--version-output``).

Source: ``get_fc1`` of symbol_utils.py, deepinsight/insightface@9fc3cc9c (src/symbols), and @7fadd420
(recognition/arcface_mxnet) for FC and SFC. BN is batch norm, DO dropout, FC a fully connected layer with bias:

    E     BN DO FC BN           F     BN DO FC          G   BN FC         H  FC
    I FC  BN FC BN              J     FC BN
    GAP C BN PReLU pool FC BN   B     BN PReLU pool FC  A   BN PReLU pool
    GDC   7x7 depthwise BN FC BN
    GNAP  BN, each pixel scaled to the mean norm, pool, BN FC BN
    SFC   BN, 3x3 depthwise of stride 2, BN act, 1x1 BN act, FC BN

AX, BX and CX are A, B and C with dropout before the FC. The last node is called ``fc1``; A and B end in a copy of
that name, which the original lacks, so that its own tools found no embedding in them. GNAP takes its mean over the
whole batch, at inference too: an embedding depends on the images beside it.
"""

from __future__ import annotations

from typing import Tuple

from ..errors import InsightError
from ..options import Option
from .layers import Convolution, ConvUnit, Dense, Dropout, Flatten, GlobalPool, HybridBlock, Identity, PReLU, Style
from .network import chain, forward_through, halved

POOLED = ("GAP", "A", "AX", "B", "BX", "C", "CX")
OUTPUTS = ("E", "F", "G", "H", "I", "J", "GAP", "GDC", "GNAP", "FC", "SFC", "A", "AX", "B", "BX", "C", "CX")
REFUSED = {
    ("version_output", "Z"): "its output is a feature map, not an embedding",
    ("version_output", "D"): "it trains PReLU(fc1) while every tool of InsightFace's reads fc1",
    ("version_output", "DX"): "it trains PReLU(fc1) while every tool of InsightFace's reads fc1",
}
DROPOUT, POOLED_DROPOUT = 0.4, 0.2
GLOBAL_KERNEL = 7  # of GDC
WIDTH = 512  # channels of GDC, SFC and GNAP inside, whatever comes in


def output_option(default: str = "E") -> Option:
    """``--version-output`` of a family."""
    text = "the layers between features and embedding: E, F, GDC, GAP, …"
    return Option("version_output", default, text, choices=(default, *(name for name in OUTPUTS if name != default)))


class Output(HybridBlock):
    """One of the outputs above.

    Parameters
    ----------
    version : str
        One of ``OUTPUTS``.
    channels : int
        C of the feature map.
    size : (int, int)
        Height and width of the feature map.
    embedding_size : int
        E.
    style : Style
        PReLU form and batch-norm momentum; PReLU whatever its ``act`` is, but in SFC (as the two trees have it).
    weight_name : str
        Name of the FC's weight where it is not ``pre_fc1_weight``.

    Raises
    ------
    InsightError
        The output does not take such a map.
    """

    def __init__(
        self,
        version: str,
        channels: int,
        size: Tuple[int, int],
        embedding_size: int,
        style: Style,
        weight_name: str = "pre_fc1_weight",
    ):
        super().__init__(prefix="")
        _check(version, channels, size, embedding_size)
        self._version = version
        self._E = embedding_size
        self._style = style
        self._weight_name = weight_name
        self.takes_sign = version == "GDC"
        flat = channels * size[0] * size[1]
        if version == "GDC":
            layers = self._gdc(channels, size)
        elif version == "SFC":
            layers = self._sfc(channels, size)
        elif version == "GNAP":
            layers = self._gnap(channels)
        elif version in POOLED:
            layers = self._pooled(channels)
        else:
            norm = [] if version in "HJ" else [style.norm("bn1", channels)]
            dropout = [Dropout(DROPOUT)] if version in "EF" else []
            fc = [Dense("fc1", flat, embedding_size)] if version in "FGH" else self._fc_norm(flat)
            layers = norm + dropout + fc
        self.layers = chain(self, *layers)

    def hybrid_forward(self, F, x, sign=None):
        layers = self.layers
        if self.takes_sign:
            x, _ = layers[0](x, sign)
            layers = layers[1:]
        return forward_through(layers, x)

    def _fc(self, in_units: int) -> list:
        return [Dense("pre_fc1", in_units, self._E, self._weight_name)]

    def _fc_norm(self, in_units: int) -> list:
        return [*self._fc(in_units), self._style.norm("fc1", self._E, fix_gamma=True)]

    def _gdc(self, channels: int, size: Tuple[int, int]) -> list:
        # for 2048 channels too, the original's convolution has 512 groups
        unit = ConvUnit(
            "conv_6dw7_7_", channels, WIDTH, GLOBAL_KERNEL, groups=WIDTH, act=False, momentum=self._style.momentum
        )
        left = [side - GLOBAL_KERNEL + 1 for side in size]
        return [unit, *self._fc_norm(WIDTH * left[0] * left[1])]

    def _sfc(self, channels: int, size: Tuple[int, int]) -> list:
        style = self._style
        height, width = halved(size)
        return [
            style.norm("bn1", channels),
            Convolution("convf", channels, WIDTH, 3, 2, 1, groups=WIDTH),
            style.norm("bnf", WIDTH),
            style.activation("reluf", WIDTH),
            Convolution("convf2", WIDTH, WIDTH, bias=True),
            style.norm("bnf2", WIDTH),
            style.activation("reluf2", WIDTH),
            *self._fc_norm(WIDTH * height * width),
        ]

    def _pooled(self, channels: int) -> list:
        version, dropout = self._version[0], self._version[1:] == "X"
        if self._version == "GAP":
            version = "C"
        layers = [
            self._style.norm("bn1", channels),
            PReLU("relu1", channels, self._style.prelu),
            GlobalPool("pool1"),
            Flatten(),
        ]
        if dropout:
            layers.append(Dropout(POOLED_DROPOUT))
        if version == "A":
            return [*layers, Identity("fc1")]
        if version == "B":
            return [*layers, *self._fc(channels), Identity("fc1")]
        return [*layers, *self._fc_norm(channels)]

    def _gnap(self, channels: int) -> list:
        style, layers, inside = self._style, [], WIDTH
        if self._E > WIDTH:
            inside = self._E
            layers += [
                Convolution("convx", channels, inside),
                style.norm("convx_bn", inside),
                PReLU("convx_relu", inside, style.prelu),
            ]
        layers += [style.norm("bn6f", inside, fix_gamma=True), NormAware(inside), GlobalPool("")]
        if self._E < inside:
            return [*layers, style.norm("bn6w", inside, fix_gamma=True), *self._fc_norm(inside)]
        return [*layers, Flatten(), style.norm("fc1", self._E, fix_gamma=True)]


class NormAware(HybridBlock):
    """Each pixel's vector times (mean norm of the batch's pixels) / (its own norm); (N, C, H, W)."""

    def __init__(self, channels: int):
        super().__init__(prefix="")
        self._channels = channels

    def hybrid_forward(self, F, x):
        norm = F.sqrt(F.sum(x * x, axis=1, keepdims=True))
        factor = F.broadcast_div(F.mean(norm), norm)
        return x * F.tile(factor, reps=(1, self._channels, 1, 1))


def _check(version: str, channels: int, size: Tuple[int, int], embedding_size: int) -> None:
    flag = f"--version-output {version}"
    if version == "GDC" and min(size) < GLOBAL_KERNEL:
        raise InsightError(
            f"{flag}: its convolution is 7x7, the last feature map {size[0]}x{size[1]}; take E, or another network, "
            "--version-input or image size"
        )
    if version in ("A", "AX") and embedding_size != channels:
        raise InsightError(
            f"{flag}: the embedding is the {channels} channels as they are; give --emb-size {channels}, not "
            f"{embedding_size}"
        )
    if version == "GNAP" and channels != WIDTH and embedding_size <= WIDTH:
        raise InsightError(f"{flag}: takes {WIDTH} channels, the last feature map has {channels}; take GAP or E")
