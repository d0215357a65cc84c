"""What holds for every registered network with every registered margin; a new file is tested by being there.

The full product would take minutes, and the two meet in one place, the (B, E) embeddings and their gradient. So y1
meets every margin, with one centre a class and with three, and every other network the two kinds: softmax (bias,
embeddings as they are) and ArcFace.
LResNet's depths differ in nothing but the number of their units: r18 and r50 stand for all, and r18 and y1 take each
value of each option once; the outputs are y1's to go through, which is a tenth of the work. Networks that do not pool
are built for 64x64 images where they can be. INSIGHT_FULL_CONTRACT=1 tests the product all the same: every depth, every
margin (some ten minutes).
"""

import os

import numpy as np
import pytest

from insight import checkpoint, engines, nets
from insight._mxnet import mx
from insight.engines.mxnet import MXNetEngine
from insight.feed.loader import Batch
from insight.graph import cut
from insight.graph.nodes import GraphModel
from insight.graph.onnx_model import to_onnx
from insight.margins import margins
from insight.nets.outputs import OUTPUTS
from insight.objectives.adadistill import AdaDistill
from insight.objectives.classification import Classification
from insight.objectives.distilled import Distilled
from insight.objectives.none import NoLoss
from insight.train.optimizer import make_trainer

CLASSES, SIZE, BATCH = 5, 24, 2
SMALL = {"image_size": (64, 64)}
FULL = os.environ.get("INSIGHT_FULL_CONTRACT") == "1"
BOTH = tuple(margins) if FULL else ("softmax", "arcface")
WHOLE_MAP = ("E", "F", "G", "H", "I", "J", "SFC")  # outputs whose FC says by its width what images it takes
SAME = ("FC", "C", "AX", "BX")  # as I, GAP, and what CX adds to C
OWN_BIAS = ("pre_fc1_bias", "convf2_bias")  # before a batch norm, which takes every bias out again


def _cases():
    """Name: (network, embedding size, options)."""
    depths = [name for name in nets.networks if name[0] == "r"]
    cases = {name: (name, SIZE, {}) for name in nets.networks if name not in depths}
    cases["gluoncv"] = ("gluoncv:mobilenet0.25", SIZE, SMALL)
    cases.update({name: (name, SIZE, SMALL) for name in (depths if FULL else ("r18", "r50"))})
    for name, small in (("r18", SMALL), ("y1", {**SMALL, "version_output": "J"})):
        for option in nets.family(name).OPTIONS:
            for value in option.choices[1:] if option.name != "version_output" else ():
                cases[f"{name} {option.name} {value}"] = (name, SIZE, {**small, option.name: value})
    for output in (one for one in OUTPUTS if one not in SAME):
        small = SMALL if output in WHOLE_MAP else {}
        cases[f"y1 {output}"] = ("y1", 512 if output in ("A", "AX") else SIZE, {"version_output": output, **small})
    cases["y1 wide GNAP"] = ("y1", 520, {"version_output": "GNAP"})
    return cases


CASES = _cases()


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """(name, network in its training form, margins that it meets); pytest runs what needs one case together."""
    name, size, options = CASES[request.param]
    mx.random.seed(1)
    network = nets.create(name, size, prelu=nets.family(name).fastest_prelu, **options)
    network.initialize(mx.init.Xavier(**network.xavier))
    network.hybridize(static_alloc=True, static_shape=True)
    if request.param == "y1":
        return request.param, network, list(margins)
    return request.param, network, BOTH if FULL or " " not in request.param else BOTH[1:]


def images(network, count):
    draw = np.random.default_rng(0)
    return draw.uniform(0, 255, (3, 3, *network.image_size)).astype(np.float32)[:count]


def centres_of(name, case):
    """Numbers of centres a class that a margin meets."""
    margin = margins.get(name)
    several = margin.cosine and not margin(**margin.example).centre_spread and (FULL or case == "y1")
    return (1, 3) if several else (1,)


def step(network, name, centres):
    """One step with that margin: (classifier, all parameters, the result)."""
    margin = margins.get(name)(**margins.get(name).example)
    use_bias = not margin.cosine
    classifier = Classification(margin, CLASSES, network.embedding_size, use_bias=use_bias, centres=centres)
    return step_of(network, classifier, name)


def step_of(network, classifier, name):
    """The same with an objective, not yet initialised."""
    mx.random.seed(2)
    classifier.initialize(mx.init.Xavier(), [mx.cpu()])
    params = {**network.kept(), **dict(classifier.params.items())}
    trainer = make_trainer(params, 0.9, 5e-4, 1.0)
    trainer.set_learning_rate(1e-3)
    with mx.autograd.record():
        embedding = network(mx.nd.array(images(network, BATCH)))
    result = classifier.learn([embedding], Batch(None, mx.nd.array([0, 4]), np.arange(BATCH), None), 0)
    embedding.backward(result.gradients[0])
    before = {key: p.data().asnumpy() for key, p in params.items()}
    trainer.step(BATCH)
    mx.nd.waitall()  # a static CachedOp writes running statistics without telling the engine: no read waits for them
    learned = [key for key, p in params.items() if p.grad_req != "null" and key not in OWN_BIAS]
    idle = [key for key in learned if not params[key].grad().asnumpy().any()]
    assert not idle, f"no gradient with {name}: {idle}"
    weights = [key for key in learned if key.endswith("_weight")]  # a step of the rest may be lost in rounding
    still = [key for key in weights if np.array_equal(before[key], params[key].data().asnumpy())]
    assert not still, f"did not move with {name}: {still}"
    return classifier, params, result


def as_checkpoint(network, classifier, params):
    symbol = classifier.symbol(nets.symbol(network))
    auxiliary = set(symbol.list_auxiliary_states())
    assert set(params) == (set(symbol.list_arguments()) - {"data", "softmax_label"}) | auxiliary
    args, aux = ({k: p.data() for k, p in params.items() if (k in auxiliary) == wanted} for wanted in (False, True))
    return checkpoint.Checkpoint(symbol, args, aux)


def test_steps_saves_reloads_ships(case, tmp_path):
    name, network, with_margins = case
    heads = [(margin, count) for margin in with_margins for count in centres_of(margin, name)]
    for margin, centres in sorted(heads, key=lambda head: head[1]):  # several centres last: they ship below
        classifier, params, result = step(network, margin, centres)
        arrays = [*(figure[0] for figure in result.figures.values()), *result.gradients]
        assert all(np.isfinite(a.asnumpy()).all() for a in arrays), margin
        assert [figure[0].shape for figure in result.figures.values()][:3] == [(BATCH,)] * 3
        assert [gradient.shape for gradient in result.gradients] == [(BATCH, network.embedding_size)]
        written = as_checkpoint(network, classifier, params)
        checkpoint.save(str(tmp_path / margin), 1, written)
        again = checkpoint.load(str(tmp_path / margin), 1)
        assert again.symbol.tojson() == written.symbol.tojson()
        for key, array in {**again.arg_params, **again.aux_params}.items():
            np.testing.assert_array_equal(array.asnumpy(), params[key].data().asnumpy(), err_msg=key)
    ships(name, network, again, tmp_path / "m.onnx")


class TwoRows:
    """A teacher of two images."""

    def __init__(self, dimension):
        self.dimension = dimension

    def rows(self, batch):
        rows = np.random.default_rng(4).normal(size=(BATCH, self.dimension)).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_learns_from_a_teacher(case, tmp_path):
    """Of another length, through a map that is not saved; and AdaDistill, whose centres have no gradient."""
    _, network, _ = case
    size = network.embedding_size
    through_map = Distilled(NoLoss(), TwoRows(size + 3), 14.0, size)
    adapted = AdaDistill(margins.get("arcface")(), CLASSES, size)
    adapted.teacher = TwoRows(size)
    for objective in (through_map, Distilled(adapted, adapted.teacher, 1.0, size)):
        _, params, result = step_of(network, objective, objective.name)
        arrays = [*(figure[0] for figure in result.figures.values()), *result.gradients]
        assert all(np.isfinite(a.asnumpy()).all() for a in arrays)
        saved = set(objective.symbol(nets.symbol(network)).list_inputs()) - {"data", "softmax_label"}
        assert saved <= set(params)
        assert set(params) - saved == ({"teacher_map_weight"} if objective is through_map else set())


def ships(name, network, held, path):
    """The reloaded checkpoint in a new block, in MXNet's executor as trained and slimmed, and as ONNX."""
    plain = network.plain()
    plain.initialize()
    assert checkpoint.assign(plain.kept(), {**held.arg_params, **held.aux_params}) == []
    x = images(network, 3)
    of_three = plain(mx.nd.array(x)).asnumpy()

    def agree(got, what):
        want = plain(mx.nd.array(x[: len(got)])).asnumpy() if "GNAP" in name else of_three[: len(got)]
        assert want.shape[1] == network.embedding_size
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max(), err_msg=what)

    inputs = {"data": mx.nd.array(x[:BATCH]), "softmax_label": mx.nd.zeros(BATCH)}
    bound = held.symbol.bind(mx.cpu(), {**held.arg_params, **inputs}, aux_states=held.aux_params, grad_req="null")
    embedding, probability = bound.forward()
    agree(embedding.asnumpy(), "the training graph")
    np.testing.assert_allclose(probability.asnumpy().sum(axis=1), 1, rtol=1e-5)
    for graph in engines.GRAPHS:
        agree(MXNetEngine(held, graph=graph)(x[:BATCH]), f"{graph} graph")
    path.write_bytes(to_onnx(cut.cut(GraphModel.from_mxnet(*held))).SerializeToString())
    onnx = engines.load(str(path), threads=1)
    for count in (1, 3):
        agree(onnx(x[:count]), f"ONNX, batch {count}")
