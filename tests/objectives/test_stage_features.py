"""The loss on features of stages, against finite differences in double precision."""

from types import SimpleNamespace

import numpy as np
import pytest

from insight._mxnet import mx
from insight.errors import InsightError
from insight.objectives.stage_features import StageFeatures

nd = mx.nd
OWN = {(4, 6): 3, (2, 3): 2, (1, 1): 5}  # channels by size
THEIRS = {(8, 8): 4, (4, 6): 3, (2, 3): 4}
BATCH = 4


class FakeTeacher:
    spec = "fake,0"
    channels = THEIRS

    def __init__(self):
        draw = np.random.default_rng(1)
        self.maps = {size: draw.normal(size=(BATCH, channels, *size)) for size, channels in THEIRS.items()}

    def features(self, batch, sizes):
        return [nd.array(self.maps[size]) for size in sizes]


@pytest.fixture
def stages():
    made = StageFeatures(FakeTeacher(), 5.0, mx.gluon.ParameterDict())
    made.choose(OWN)
    return made


def own_features():
    draw = np.random.default_rng(2)
    return [draw.normal(size=(BATCH, OWN[size], *size)) for size in ((4, 6), (2, 3))]


def errors(features, weight, teacher):
    mapped = [features[0], np.einsum("tc,bchw->bthw", weight, features[1])]
    targets = [teacher.maps[size] for size in ((4, 6), (2, 3))]
    ratios = [((m - t) ** 2).sum((1, 2, 3)) / (t**2).sum((1, 2, 3)) for m, t in zip(mapped, targets)]
    return sum(ratios) / 2


@pytest.mark.parametrize("devices", [1, 2])
def test_loss_and_gradients(stages, devices):
    assert stages.sizes == [(4, 6), (2, 3)] and stages.describe() == "features of 4x6, 2x3 weight=5"
    contexts = [mx.cpu(i) for i in range(devices)]
    stages.initialize(contexts)
    (parameter,) = stages._params.values()
    assert (parameter.name, parameter.shape, stages.map_elements) == ("teacher_stage2x3_weight", (4, 2, 1, 1), 8)
    weight = parameter.data(contexts[0]).asnumpy().astype(np.float64)[:, :, 0, 0]
    features = own_features()
    parts = [
        [nd.array(np.split(stage, devices)[i], ctx=context) for stage in features] for i, context in enumerate(contexts)
    ]
    result = stages.learn(parts, SimpleNamespace())
    error = np.concatenate([part.asnumpy() for part in result.error])
    np.testing.assert_allclose(error, errors(features, weight, stages.teacher), rtol=1e-5)

    def numeric(array):
        gradient = np.zeros_like(array)
        for i in np.ndindex(array.shape):
            kept, sides = array[i], []
            for step in (1e-5, -1e-5):
                array[i] = kept + step
                sides.append(5.0 * errors(features, weight, stages.teacher).sum())
            array[i] = kept
            gradient[i] = (sides[0] - sides[1]) / 2e-5
        return gradient

    for stage, array in enumerate(features):
        mine = np.concatenate([gradients[stage].asnumpy() for gradients in result.gradients])
        np.testing.assert_allclose(mine, numeric(array), rtol=1e-4, atol=1e-6)
    of_map = sum(gradient.asnumpy() for gradient in parameter.list_grad())[:, :, 0, 0]
    np.testing.assert_allclose(of_map, numeric(weight), rtol=1e-4, atol=1e-6)


def test_zero_features_have_the_error_1_and_equal_ones_0(stages):
    stages.initialize([mx.cpu()])
    zero = [nd.zeros(stage.shape) for stage in own_features()]
    np.testing.assert_allclose(stages.learn([zero], None).error[0].asnumpy(), 1, rtol=1e-6)
    equal = StageFeatures(FakeTeacher(), 5.0, mx.gluon.ParameterDict())
    equal.choose(THEIRS)
    assert equal.sizes == list(THEIRS) and equal.map_elements == 0
    result = equal.learn([equal.teacher.features(None, equal.sizes)], None)
    assert result.error[0].asnumpy().tolist() == [0] * BATCH


def test_half_precision_comes_in_and_float32_goes_out(stages):
    stages.initialize([mx.cpu()])
    result = stages.learn([[nd.array(stage).astype("float16") for stage in own_features()]], None)
    assert {gradient.dtype for gradient in result.gradients[0]} == {np.float32}


def test_networks_without_a_common_size():
    made = StageFeatures(FakeTeacher(), 5.0, mx.gluon.ParameterDict())
    message = (
        "--teacher-features 5: no stage of the network ends with features of the size that one of --teacher fake,0 "
        "does; there they are 8x8, 4x6, 2x3, here 7x7"
    )
    with pytest.raises(InsightError) as raised:
        made.choose({(7, 7): 3})
    assert str(raised.value) == message
