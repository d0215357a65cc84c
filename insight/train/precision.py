"""``--dtype``: training of the network in half precision, with parameters and head in float32.

MXNet's AMP pass converts the symbol, so that no MXNet function is patched at run time. It inserts casts around the
operators that benefit from half precision; weights stay float32 and are cast when they are read.
"""

from __future__ import annotations

import contextlib
import importlib
import time
import warnings
from typing import Any, Callable, NamedTuple, Optional

from .._mxnet import mx
from ..errors import InsightError
from ..machine import stderr

TRIAL_IMAGES = 4
TRIAL_STEPS = 3  # timed steps of each dtype, alternating; the fastest counts


def lowered(network, dtype: str, devices: list, inner: Optional[Callable[[Any], list]] = None):
    """Return the network as a block that computes in ``dtype`` with the same parameters.

    Parameters
    ----------
    network : insight.nets.network.Network
        Initialised, in its training form.
    dtype : str
        float32, float16 or bfloat16. For float32 without ``inner``, the network itself is returned.
    devices : list of mxnet.Context
    inner : callable, optional
        From the network's symbol to a list of inner outputs, which the block returns after the embedding.

    Raises
    ------
    InsightError
        float16 on the CPU or bfloat16 on a GPU: MXNet 1.9.1 has no such convolution.
    """
    if dtype == "float32" and inner is None:
        return network
    kind = devices[0].device_type
    if (dtype, kind) in (("float16", "cpu"), ("bfloat16", "gpu")):
        other = {"cpu": "bfloat16", "gpu": "float16"}[kind]
        raise InsightError(
            f"--dtype {dtype}: MXNet 1.9.1 cannot convolve in it on the {kind.upper()}; use {other} there"
        )
    symbol = network(mx.sym.Variable("data"))
    graph = lowered_symbol(mx.sym.Group([symbol, *inner(symbol)]) if inner else symbol, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SymbolBlock cannot infer the dtype of data, which is float32
        return mx.gluon.SymbolBlock(graph, mx.sym.Variable("data"), params=network.collect_params())


def lowered_symbol(symbol, dtype: str):
    """Return a network's symbol with casts to and from ``dtype``; for float32, the symbol itself."""
    if dtype == "float32":
        return symbol
    low, full = _operators(dtype)
    convert = importlib.import_module("mxnet.contrib.amp").convert_symbol
    return convert(symbol, dtype, target_dtype_ops=low, fp32_ops=full, data_names=["data"])


class Unsupported(InsightError):
    """This processor cannot train in the requested dtype."""


class Trial(NamedTuple):
    """Result of :func:`try_out`: seconds of a forward and backward pass over ``TRIAL_IMAGES`` images."""

    float32: float
    lowered: float

    @property
    def note(self) -> str:
        """Note for the log if half precision is slower by a tenth or more; else empty."""
        ratio = self.lowered / self.float32
        if ratio < 1.1:
            return ""
        return (
            f"bfloat16 takes {ratio:.1f} times as long as float32 on this processor, which lacks instructions for it "
            "(AVX-512 BF16); --dtype float32 is faster and more exact"
        )


def try_out(build: Callable, dtype: str, devices: list) -> Trial:
    """Run a few training steps of a temporary network in float32 and in ``dtype``, and time them.

    Which oneDNN kernels exist depends on the processor and the shapes, and can only be found out by running them.

    Parameters
    ----------
    build : callable
        Without arguments; returns a new network in its training form, not initialised.
    dtype : str
        bfloat16.
    devices : list of mxnet.Context
        Only the first one is used.

    Raises
    ------
    Unsupported
        This processor has no kernels for ``dtype``.
    """
    device = devices[0]
    try:
        with stderr.discarded():  # MXNet prints its errors as well as raising them
            steps = [_trial_step(build(), kind, device) for kind in ("float32", dtype)]
            seconds = [[step() for step in steps] for _ in range(1 + TRIAL_STEPS)]
    except mx.MXNetError as error:
        with contextlib.suppress(mx.MXNetError), stderr.discarded():
            mx.nd.waitall()  # MXNet raises the error again at the next wait, and only then clears it
        reason = str(error).strip().splitlines()[-1].replace("MXNetError: ", "")
        raise Unsupported(
            f"--dtype {dtype}: MXNet cannot train this network in it on this processor ({reason}); it needs AVX-512, "
            "and AVX-512 BF16 to be faster than float32; use --dtype float32"
        ) from None
    return Trial(*(min(times) for times in zip(*seconds[1:])))


def _trial_step(network, dtype: str, device) -> Callable[[], float]:
    """Return a function that runs one step and returns its duration in seconds."""
    network.initialize(mx.init.Xavier(), ctx=device)
    forward = lowered(network, dtype, [device])
    forward.hybridize(static_alloc=True, static_shape=True)
    images = mx.nd.random.uniform(0, 255, (TRIAL_IMAGES, 3, *network.image_size), ctx=device)

    def step() -> float:
        start = time.perf_counter()
        with mx.autograd.record():
            embedding = forward(images)
        embedding.backward()
        mx.nd.waitall()
        return time.perf_counter() - start

    return step


def _operators(dtype: str) -> tuple:
    """(operators in half precision, operators in float32): AMP's lists with one change."""
    if dtype == "float16":
        lists = importlib.import_module("mxnet.contrib.amp.lists.symbol_fp16")
        return list(lists.FP16_FUNCS), list(lists.FP32_FUNCS)
    lists = importlib.import_module("mxnet.contrib.amp.lists.symbol_bf16")
    # The embedding's FC stays in float32: its bfloat16 kernel in oneDNN fails on LResNet's shapes.
    return [name for name in lists.BF16_FUNCS if name != "FullyConnected"], [*lists.FP32_FUNCS, "FullyConnected"]


class LossScale:
    """Dynamic loss scale for float16, whose smallest positive number is 6e-8: smaller gradients would become 0.

    The scale starts at ``HIGHEST``. Each overflow halves it, down to ``LOWEST``; ``GROWS_AFTER`` steps in a row without
    one double it.

    Source: Micikevicius et al., "Mixed Precision Training", arXiv:1710.03740, section 3.2.
    """

    HIGHEST, LOWEST, GROWS_AFTER = 2.0**16, 1.0, 2000  # steps

    def __init__(self):
        self.value = self.HIGHEST
        self._good = 0

    @property
    def can_fall(self) -> bool:
        """Whether the scale can still be lowered after an overflow."""
        return self.value > self.LOWEST

    def saw(self, finite: bool) -> None:
        """Update the scale after a step; ``finite``: whether all of its gradients were."""
        self._good = self._good + 1 if finite else 0
        if not finite:
            self.value = max(self.LOWEST, self.value / 2)
        elif self._good >= self.GROWS_AFTER:
            self.value, self._good = min(self.HIGHEST, self.value * 2), 0

    def state(self) -> list:
        """JSON-serialisable state for :meth:`restore`."""
        return [self.value, self._good]

    def restore(self, state: list) -> None:
        """Restore what :meth:`state` returned."""
        self.value, self._good = state
