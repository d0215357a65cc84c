"""Trial of one device, run in a child process.

Each stage prints one JSON line to stdout and flushes it, so that the parent knows the last stage of a child that
crashed or hung.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any, Callable

CPU_ONLY = {"CUDA_VISIBLE_DEVICES": ""}  # a broken GPU must not affect the trial of the CPU
SHOWN_FEATURES = ("CUDA", "CUDNN", "NCCL", "MKLDNN", "OPENMP", "OPENCV", "DIST_KVSTORE", "INT64_TENSOR_SIZE")


def run(device: str) -> None:
    """Try ``cpu`` or ``gpu(N)``; never returns."""
    if device == "cpu":
        os.environ.update(CPU_ONLY)
    stages = [("opencv", _opencv), ("mxnet", _mxnet), ("operator", _operator), ("train", _train)]
    if device == "cpu":
        stages.append(("bfloat16", _bfloat16))
    for stage, attempt in stages:
        try:
            result = attempt(device)
        except Exception as error:
            _report(stage, error=_one_line(error))
            if stage != "opencv":
                break
        else:
            _report(stage, found=result)
    _report("end")
    os._exit(0)  # a CUDA build can hang while it shuts down


def _report(stage: str, **facts: Any) -> None:
    print(json.dumps({"stage": stage, **facts}), flush=True)


def _one_line(error: Exception) -> str:
    """The last line of an error; an MXNetError has a C++ stack before it."""
    from ..errors import InsightError

    kind = "" if isinstance(error, InsightError) else f"{type(error).__name__}: "
    last = (str(error).strip().splitlines() or [""])[-1]
    return last if last.startswith(kind) else kind + last


def _opencv(device: str) -> str:
    import cv2
    import numpy as np

    image = np.full((112, 112, 3), 128, np.uint8)
    decoded = cv2.imdecode(cv2.imencode(".jpg", image)[1], cv2.IMREAD_COLOR)
    return f"{cv2.__version__}, decodes {'x'.join(map(str, decoded.shape))}"


def _mxnet(device: str) -> str:
    from .._mxnet import mx

    features = mx.runtime.Features()
    return f"{mx.__version__} with {' '.join(f for f in SHOWN_FEATURES if features.is_enabled(f))}"


def _context(device: str) -> Any:
    from .._mxnet import mx

    return mx.cpu() if device == "cpu" else mx.gpu(int(device[len("gpu(") : -1]))


def _operator(device: str) -> str:
    from .._mxnet import mx

    total = (mx.nd.ones((16, 16), ctx=_context(device)) * 3).sum().asscalar()
    if total != 768:
        raise ArithmeticError(f"3 x 16 x 16 ones add up to {total}, not 768")
    return "computes"


def _train(device: str) -> str:
    """Train a network with the layers of the real ones on one batch; the loss must fall within three steps."""
    from .._mxnet import mx

    context = _context(device)
    mx.random.seed(0)
    net = _net(mx)
    net.initialize(mx.init.Xavier(), ctx=context)
    net.hybridize(static_alloc=True, static_shape=True)
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.05, "momentum": 0.9})
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    images = mx.nd.random.normal(shape=(8, 3, 16, 16), ctx=context)
    labels = mx.nd.array(range(8), ctx=context) % 4
    losses = [_step(mx, net, trainer, loss, images, labels) for _ in range(4)]
    if not losses[-1] < losses[0]:  # NaN fails too
        raise ArithmeticError(f"the loss does not fall: {losses}")
    return f"three steps, loss {losses[0]:.2f} to {losses[-1]:.2f}"


def _bfloat16(device: str) -> str:
    """Time a convolution in bfloat16 and float32, to tell whether ``--dtype bfloat16`` works here and is faster."""
    import numpy as np

    from .._mxnet import mx

    full, half = np.dtype("float32"), np.dtype([("bfloat16", np.uint16)])  # MXNet's type for it
    seconds = {}
    for dtype in (full, half):
        data, weight = mx.nd.ones((8, 64, 56, 56)), mx.nd.ones((64, 64, 3, 3))
        try:
            data, weight = (mx.nd.amp_cast(array, dtype=dtype) for array in (data, weight))
            seconds[dtype] = _quickest(mx, data, weight)
        except mx.MXNetError:
            return "not on this processor: train in float32"
    ratio = seconds[full] / seconds[half]
    return f"convolves {ratio:.1f} times as fast as in float32" + ("" if ratio > 1 else ": train in float32")


def _quickest(mx: Any, data: Any, weight: Any) -> float:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        mx.nd.Convolution(data, weight, kernel=(3, 3), pad=(1, 1), num_filter=64, no_bias=True).wait_to_read()
        times.append(time.perf_counter() - start)
    return min(times)


def _net(mx: Any) -> Any:
    nn = mx.gluon.nn
    net = nn.HybridSequential()
    # tanh(x) * sigmoid(x): adjacent operators that a CUDA build fuses by run-time compilation, which fails with an old
    # driver
    fused: Callable = lambda F, x: F.tanh(x) * F.sigmoid(x)  # noqa: E731
    net.add(nn.Conv2D(16, 3, use_bias=False), nn.BatchNorm(), nn.PReLU(in_channels=16))
    net.add(nn.HybridLambda(fused), nn.Flatten(), nn.Dense(4))
    return net


def _step(mx: Any, net: Any, trainer: Any, loss: Any, images: Any, labels: Any) -> float:
    with mx.autograd.record():
        value = loss(net(images), labels)
    value.backward()
    trainer.step(images.shape[0])
    return float(value.mean().asscalar())
