"""``--dtype``: the network in half precision, parameters and head in float32.

The training graph is converted by MXNet's own AMP pass on the symbol, so that nothing of the process is patched: casts
stand around the operators that gain by it, weights stay float32 and are cast as they are read.
"""

from __future__ import annotations

import importlib
import warnings

from .._mxnet import mx
from ..errors import InsightError


def lowered(network, dtype: str, devices: list):
    """The network as a block that computes in ``dtype`` on the same parameters.

    Parameters
    ----------
    network : insight.nets.network.Network
        Initialised, in its training form.
    dtype : str
        float32 (the network itself comes back), float16 or bfloat16.

    Raises
    ------
    InsightError
        float16 on the CPU or bfloat16 on a GPU: MXNet 1.9.1 has no such convolution.
    """
    if dtype == "float32":
        return network
    kind = devices[0].device_type
    if (dtype, kind) in (("float16", "cpu"), ("bfloat16", "gpu")):
        other = {"cpu": "bfloat16", "gpu": "float16"}[kind]
        raise InsightError(
            f"--dtype {dtype}: MXNet 1.9.1 cannot convolve in it on the {kind.upper()}; use {other} there"
        )
    graph = lowered_symbol(network(mx.sym.Variable("data")), dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it cannot tell the type of data, which is float32
        return mx.gluon.SymbolBlock(graph, mx.sym.Variable("data"), params=network.collect_params())


def lowered_symbol(symbol, dtype: str):
    """A network's symbol with its casts to and from ``dtype``; float32: the symbol itself."""
    if dtype == "float32":
        return symbol
    low, full = _operators(dtype)
    convert = importlib.import_module("mxnet.contrib.amp").convert_symbol
    return convert(symbol, dtype, target_dtype_ops=low, fp32_ops=full, data_names=["data"])


def _operators(dtype: str) -> tuple:
    """(operators in half precision, operators in float32), AMP's own lists with one change."""
    if dtype == "float16":
        lists = importlib.import_module("mxnet.contrib.amp.lists.symbol_fp16")
        return list(lists.FP16_FUNCS), list(lists.FP32_FUNCS)
    lists = importlib.import_module("mxnet.contrib.amp.lists.symbol_bf16")
    # The embedding's FC stays in float32: in bfloat16 its oneDNN kernel fails on LResNet's shapes.
    return [name for name in lists.BF16_FUNCS if name != "FullyConnected"], [*lists.FP32_FUNCS, "FullyConnected"]


class LossScale:
    """float16's range begins at 6e-8: gradients are scaled up, and the scale halves when they overflow.

    Source: Micikevicius et al., "Mixed Precision Training", arXiv:1710.03740, section 3.2.
    """

    HIGHEST, LOWEST, GROWS_AFTER = 2.0**16, 1.0, 2000  # steps

    def __init__(self):
        self.value = self.HIGHEST
        self._good = 0

    @property
    def can_fall(self) -> bool:
        """Whether an overflow may still be the scale's fault."""
        return self.value > self.LOWEST

    def saw(self, finite: bool) -> None:
        """Take note of a step's gradients."""
        self._good = self._good + 1 if finite else 0
        if not finite:
            self.value = max(self.LOWEST, self.value / 2)
        elif self._good >= self.GROWS_AFTER:
            self.value, self._good = min(self.HIGHEST, self.value * 2), 0

    def state(self) -> list:
        """For exact resume."""
        return [self.value, self._good]

    def restore(self, state: list) -> None:
        """Take back what :meth:`state` gave."""
        self.value, self._good = state
