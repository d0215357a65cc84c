"""Order and random draws: against a slow reference, as distributions, and frozen."""

import hashlib

import numpy as np

from insight._mxnet import mx
from insight.feed import draws
from insight.margins.targets import Targets
from insight.mining import picking
from insight.objectives import drawn_classes
from insight.objectives.initial_rows import RowsOfWhole

MASK = (1 << 64) - 1


def splitmix64(state, count):
    """The generator as its paper has it, one number at a time, in Python's integers."""
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


def test_the_reference_gives_the_published_numbers():
    assert list(splitmix64(1234567, 3)) == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_uniforms_are_splitmix64():
    key = int(np.random.SeedSequence([3, 5, draws.AUGMENTATION]).generate_state(1, np.uint64)[0])
    whole = [z / 2**64 for z in splitmix64(key, 16 * 1000)]
    got = draws.uniforms(3, 5, np.array([0, 999, 41]), 16)
    np.testing.assert_allclose(got, [whole[:16], whole[-16:], whole[41 * 16 : 42 * 16]], atol=2.0**-52)
    np.testing.assert_array_equal(draws.uniforms(3, 5, np.array([41]), 4), got[2:, :4])


def test_uniforms_are_uniform_and_independent():
    u = draws.uniforms(0, 0, np.arange(20000), 9)
    assert u.min() >= 0
    assert u.max() < 1
    counts = np.array([np.histogram(column, 50, (0, 1))[0] for column in u.T])
    chi2 = ((counts - 400) ** 2 / 400).sum(axis=1)
    assert (chi2 < 100).all()  # 49 degrees of freedom: above 100 once in 40,000
    columns = [*u.T, u[1:, 0], draws.uniforms(0, 1, np.arange(20000), 1)[:, 0]]
    columns += [draws.uniforms(1, 0, np.arange(20000), 1)[:, 0]]
    correlation = np.corrcoef([column[:19999] for column in columns])
    assert np.abs(correlation - np.eye(len(columns))).max() < 0.035  # five standard deviations


def test_an_order_is_a_permutation_of_its_epoch_and_seed():
    order = draws.epoch_order(0, 0, 1000)
    assert sorted(order) == list(range(1000))
    assert np.mean(order == np.arange(1000)) < 0.01
    for other in (draws.epoch_order(0, 1, 1000), draws.epoch_order(1, 0, 1000)):
        assert np.mean(order == other) < 0.01


def test_draws_are_frozen():
    """A run that is resumed by a later version sees the same images: change this only with the checkpoint's format."""
    digest = hashlib.sha256(draws.epoch_order(7, 3, 5000).astype("<i8"))
    digest.update(draws.uniforms(7, 3, np.arange(0, 5000, 7), 16).astype("<f8"))
    assert digest.hexdigest() == "486af2cd213111a904d25d50dc1c38c3eeaf19bbd6e2531986da41a5bf31857b"


def test_no_two_purposes_share_a_stream(monkeypatch):
    """Whatever the step, epoch, cell or number before it, the last word of the seeds tells them apart."""
    purposes = [value for name, value in vars(draws).items() if name.isupper() and name[0] != "_"]
    purposes.remove(draws.MOST_DRAWS)
    seeds, make = [[3, 5, purpose] for purpose in purposes], np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed: seeds.append(seed) or make(seed))
    picking.generator(3, 5)
    drawn_classes.draw(3, 5, 1000, 0.1, np.zeros(0, np.int64))
    RowsOfWhole(mx.init.Normal(), 10, 0, 1, 3)._init_weight("fc7_weight", mx.nd.zeros((10, 2)))
    Targets(mx.nd, mx.nd.zeros(2), step=5, seed=3).normal()
    assert len(seeds) == len(purposes) + 5 == 12
    assert len({seed[-1] for seed in seeds}) == len(seeds)
    assert all(seed[-1] for seed in seeds if len(seed) > 3)  # or it is the stream of the words before
