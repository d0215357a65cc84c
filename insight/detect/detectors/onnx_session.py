"""Networks of detectors in ONNX Runtime, on one thread, so that results do not depend on the number of cores."""

from __future__ import annotations

from typing import Any, Callable, Sequence, Tuple

import numpy as np

from ...errors import InsightError

REMEDY = "run: pip install -e '.[detect]'"


def open_onnx(path: str) -> Tuple[Any, Callable[[np.ndarray], Sequence[np.ndarray]]]:
    """Load a network with one input.

    Parameters
    ----------
    path : str

    Returns
    -------
    session : onnxruntime.InferenceSession
    run : callable
        Maps the input array to the list of all outputs, in the order of the file.

    Raises
    ------
    InsightError
        ONNX Runtime is not installed, or does not load the file.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InsightError(f"ONNX Runtime is not installed, or does not load ({error}); {REMEDY}") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised anyway
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # it grows with every new shape and never shrinks
    options.enable_mem_pattern = False  # requires constant shapes
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has no common base class of its errors
        reason = str(error).strip().partition("\n")[0]
        raise InsightError(f"{path}: ONNX Runtime does not load it ({reason}); want a network in ONNX") from None
    name = session.get_inputs()[0].name
    return session, lambda batch: session.run(None, {name: batch})
