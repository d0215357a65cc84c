"""LResNet-IR, the residual networks of ArcFace, by depth: ``r18`` to ``r269``.

Sources: Deng et al., "ArcFace", arXiv:1801.07698; fresnet.py of deepinsight/insightface@9fc3cc9c (src/symbols), and
@7fadd420 (recognition/arcface_mxnet) for the depths that only it has. "LResNet50E-IR" is r50 with input 1 (L),
output E and unit 3 (IR), the defaults.
"""

from __future__ import annotations

from typing import ClassVar

from ..options import Option
from . import networks, outputs
from .attention import SE_OPTION
from .layers import Convolution, Identity, Style
from .lresnet_units import Unit, UnitSpec
from .network import Network, chain, forward_through, halved, normalise_pixels

# Depth: number of residual units in the four stages.
UNITS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    49: (3, 4, 14, 3),
    50: (3, 4, 14, 3),
    74: (3, 6, 24, 3),
    90: (3, 8, 30, 3),
    98: (3, 4, 38, 3),
    99: (3, 8, 35, 3),
    100: (3, 13, 30, 3),
    101: (3, 4, 23, 3),
    124: (3, 13, 40, 5),
    134: (3, 10, 50, 3),
    136: (3, 13, 48, 3),
    140: (3, 15, 48, 3),
    152: (3, 8, 36, 3),
    160: (3, 24, 49, 3),
    200: (3, 24, 36, 3),
    269: (3, 30, 48, 8),
}
# From depth 101, @9fc3cc9c has bottlenecks; @7fadd420 has none at any of these depths, and has more depths.
BOTTLENECK = (101, 124, 152, 200, 269)
STEM = 64
PLAIN_CHANNELS, BOTTLENECK_CHANNELS = (64, 128, 256, 512), (256, 512, 1024, 2048)


class LResNet(Network):
    """Residual network of one depth; options and errors: :class:`insight.nets.network.Network`.

    Input (N, 3, 112, 112) RGB in 0..255, output (N, E).

    Options
    -------
    version_input
        1: 3x3 stem at full resolution, the last feature map is 7x7. 0: 7x7 stem of stride 2, the last feature map is
        4x4 (without pooling, as in @9fc3cc9c; @4bc81321 pools there and keeps the size in stage 1). 2: as 1, with a
        batch norm of the pixels instead of the constants (@4bc81321 has other units under this number).
    version_output
        See :mod:`insight.nets.outputs`.
    version_unit, version_se
        See :mod:`insight.nets.lresnet_units`; ``version_se`` 1 adds squeeze and excitation.
    version_act
        ``prelu`` or ``relu``, in the stem and the units.
    bottleneck
        1 or 0, at the depths where the two trees differ (``BOTTLENECK``).
    """

    OPTIONS: ClassVar = (
        Option(
            "version_input",
            1,
            "LResNet's first layers: 1 3x3, 0 7x7 of stride 2, 2 batch norm of the pixels",
            int,
            (1, 0, 2),
        ),
        outputs.output_option(),
        Option("version_unit", 3, "LResNet's unit: 1, 2 or 3", int, (3, 1, 2)),
        Option("version_act", "prelu", "LResNet's activation: prelu or relu", str, ("prelu", "relu")),
        SE_OPTION,
    )
    REFUSED: ClassVar = {**outputs.REFUSED, ("version_unit", 4): "InsightFace accepts it but does not define it"}
    xavier: ClassVar = {"rnd_type": "gaussian", "factor_type": "out", "magnitude": 2}
    STAGES = (
        ("stem", "id$|conv0|bn0|relu0|bn_data"),
        *((f"stage {stage}", f"stage{stage}_") for stage in (1, 2, 3, 4)),
        ("output", "conv_6dw|pre_fc1|fc1|bn|convf|convx|relu|pool1"),
    )
    depth: ClassVar[int]

    def __init__(self, embedding_size: int = 0, *common, **options):
        super().__init__(embedding_size, *common, **options)
        style = Style(self.prelu, self.momentum, self.options["version_act"])
        wide = self.options["version_input"] == 0
        self.stem = chain(self, *self._stem(style, wide))
        channels = BOTTLENECK_CHANNELS if self.options["bottleneck"] else PLAIN_CHANNELS
        self.units = chain(self, *self._units(style, channels))
        size = halved(self.image_size, 5 if wide else 4)
        version = self.options["version_output"]
        self.output = outputs.Output(version, channels[-1], size, self.embedding_size, style)

    def _stem(self, style: Style, wide: bool) -> list:
        conv0 = Convolution("conv0", 3, STEM, 7, 2, 3) if wide else Convolution("conv0", 3, STEM, 3, 1, 1)
        layers = [conv0, style.norm("bn0", STEM), style.activation("relu0", STEM)]
        if self.options["version_input"] == 2:
            return [style.norm("bn_data", 3, fix_gamma=True), *layers]
        return [Identity("id"), *layers]

    def _units(self, style: Style, channels: tuple):
        options, before = self.options, STEM
        for stage, (count, width) in enumerate(zip(UNITS[self.depth], channels), 1):
            for number in range(1, count + 1):
                spec = UnitSpec(
                    name=f"stage{stage}_unit{number}",
                    in_channels=before,
                    channels=width,
                    stride=2 if number == 1 else 1,
                    matches=number > 1,
                    bottleneck=bool(options["bottleneck"]),
                    excite=bool(options["version_se"]),
                    early_stride=options["version_input"] == 0,
                )
                yield Unit(options["version_unit"], spec, style)
                before = width

    def hybrid_forward(self, F, x):
        first, *rest = self.stem
        x = first(x)
        if self.options["version_input"] != 2:
            x = normalise_pixels(x)
        return self.output(forward_through((*rest, *self.units), x))


def _bottleneck(known: bool) -> Option:
    text = "LResNet, at the depths where InsightFace's trees differ: 1 or 0"
    return Option("bottleneck", int(known), text, int, (1, 0) if known else (0,))


for _depth in UNITS:
    _options = (*LResNet.OPTIONS, _bottleneck(_depth in BOTTLENECK))
    _family = type(f"LResNet{_depth}", (LResNet,), {"depth": _depth, "OPTIONS": _options, "__module__": __name__})
    networks.register(f"r{_depth}")(_family)
