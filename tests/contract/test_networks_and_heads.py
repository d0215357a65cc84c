"""What holds for every registered network with every registered head; a new file is tested by being there."""

import numpy as np
import pytest

from insight import checkpoint, nets
from insight._mxnet import mx
from insight.engines.mxnet import MXNetEngine
from insight.heads import heads
from insight.heads.classifier import Classifier
from insight.heads.margin import MarginOptions
from insight.train.optimizer import make_trainer

CLASSES, SIZE, BATCH = 5, 24, 4


@pytest.fixture(scope="module")
def batch():
    draw = np.random.default_rng(0)
    return mx.nd.array(draw.uniform(0, 255, (BATCH, 3, 112, 112))), mx.nd.array([0, 4, 2, 2])


@pytest.mark.parametrize("head", list(heads))
@pytest.mark.parametrize("name", list(nets.networks))
def test_steps_saves_reloads(name, head, batch, tmp_path):
    mx.random.seed(1)
    network = nets.create(name, SIZE, fast_prelu=True)
    margin = heads.get(head)(MarginOptions())
    classifier = Classifier(margin, CLASSES, SIZE, use_bias=not margin.cosine)
    network.initialize(mx.init.Xavier())
    classifier.params.initialize(mx.init.Xavier())
    network.hybridize(static_alloc=True, static_shape=True)
    params = {**network.kept(), **dict(classifier.params.items())}
    before = {key: p.data().asnumpy() for key, p in params.items()}
    trainer = make_trainer(params, 0.9, 5e-4, 1.0)
    trainer.set_learning_rate(1e-3)
    result = classifier.backward(network, *batch)
    trainer.step(BATCH)
    assert all(np.isfinite(a.asnumpy()).all() and a.shape == (BATCH,) for a in result)
    learned = [key for key, p in params.items() if p.grad_req != "null"]
    still = [key for key in learned if np.array_equal(before[key], params[key].data().asnumpy())]
    assert not still, f"did not move: {still}"

    symbol = classifier.symbol(nets.symbol(network))
    arrays = {key: p.data() for key, p in params.items()}
    auxiliary = set(symbol.list_auxiliary_states())
    assert set(arrays) == set(symbol.list_arguments()) - {"data", "softmax_label"} | auxiliary
    args, aux = ({k: a for k, a in arrays.items() if (k in auxiliary) == wanted} for wanted in (False, True))
    saved = checkpoint.Checkpoint(symbol, args, aux)
    checkpoint.save(str(tmp_path / "model"), 1, saved)
    again = checkpoint.load(str(tmp_path / "model"), 1)
    for key, array in {**again.arg_params, **again.aux_params}.items():
        np.testing.assert_array_equal(array.asnumpy(), arrays[key].asnumpy(), err_msg=key)

    plain = network.plain()
    plain.initialize()
    assert checkpoint.assign(plain.kept(), arrays) == []
    expected = plain(batch[0]).asnumpy()
    assert expected.shape == (BATCH, SIZE)
    for graph in ("plain", "fast"):
        engine = MXNetEngine(again, graph=graph)
        got = engine(batch[0].asnumpy())
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max(), err_msg=graph)


@pytest.mark.parametrize("head", list(heads))
def test_margins_only_lower_the_target(head):
    margin = heads.get(head)(MarginOptions())
    cos = mx.nd.array(np.linspace(-1, 1, 201))
    new, slope = margin.target_logit(mx.nd, cos)
    assert (new.asnumpy() <= cos.asnumpy() + 1e-6).all()
    assert (slope.asnumpy() > -1e-5).all()  # never falls with the cosine; False for NaN too
    assert np.isfinite(slope.asnumpy()).all()
