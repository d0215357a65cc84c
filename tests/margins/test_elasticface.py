"""ElasticFace: margins are drawn by sample; "+" ranks them over the samples of all devices."""

import numpy as np
import pytest
from margin_cases import DEVIATIONS, drawn_margins

from insight._mxnet import mx
from insight.margins import margins
from insight.margins.targets import Targets

COSINES = np.random.default_rng(4).uniform(-0.3, 0.9, 512).astype(np.float32)


def drawn(name, cosines=COSINES, share=None, step=3, seed=5, **options):
    """The margins that it takes, from its logits; of a share of the samples as on one of several devices."""
    margin = margins.get(name)(**options)
    share = share or slice(0, len(cosines))
    targets = Targets(
        mx.nd, mx.nd.array(cosines[share]), None, step, seed, share.start, None, lambda: mx.nd.array(cosines)
    )
    new = margin.target_logit(targets).new_B.asnumpy().astype(float)
    own = cosines[share].astype(float)
    return np.arccos(new) - np.arccos(own) if "arc" in name else own - new


@pytest.mark.parametrize("name", DEVIATIONS)
def test_mean_and_deviation_of_the_margins(name):
    mean = 0.5 if "arc" in name else 0.35
    of_batch = drawn(name)
    np.testing.assert_allclose(of_batch, drawn_margins(name, {}, COSINES, 5, 3), atol=1e-5)
    assert of_batch.mean() == pytest.approx(mean, abs=0.1 * DEVIATIONS[name])
    assert of_batch.std() == pytest.approx(DEVIATIONS[name], rel=0.1)
    np.testing.assert_allclose(drawn(name, margin_m=0.2, margin_std=0.0), 0.2, atol=1e-5)


@pytest.mark.parametrize("name", DEVIATIONS)
def test_correlation_of_margin_and_cosine(name):
    correlation = np.corrcoef(drawn(name), COSINES)[0, 1]
    assert correlation < -0.95 if name.endswith("plus") else abs(correlation) < 0.1


@pytest.mark.parametrize("name", DEVIATIONS)
def test_several_devices_draw_as_one(name):
    whole = drawn(name)
    shares = [drawn(name, share=slice(begin, begin + 128)) for begin in range(0, 512, 128)]
    np.testing.assert_array_equal(np.concatenate(shares), whole)
    np.testing.assert_array_equal(drawn(name), whole)
    for other in (drawn(name, step=4), drawn(name, seed=6)):
        assert (other != whole).mean() > 0.95


def test_equal_cosines_take_their_margins_in_order():
    same = np.full(6, 0.5, np.float32)
    margins_taken = drawn("elasticface_cos_plus", same, margin_std=0.1)
    assert (np.diff(margins_taken) < 0).all()
