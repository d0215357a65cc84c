"""LResNet-IR against InsightFace's graphs: digests of names, order and shapes, and r50 built independently by hand.

The digests are of arrays (names, order, shapes) and graph of the symbols that fresnet.py and fmobilefacenet.py build at
deepinsight/insightface@9fc3cc9c (r101 without bottlenecks, r134, y2, FC and SFC: @7fadd420), E = 512, 112x112 images.
"""

import hashlib
import json

import numpy as np
import pytest

from insight import nets
from insight._mxnet import mx
from insight.errors import InsightError

S = mx.sym


def described(symbol):
    """Names and shapes of all arrays, in the symbol's order."""
    arguments, _, auxiliary = symbol.infer_shape(data=(1, 3, 112, 112))
    names = symbol.list_arguments() + symbol.list_auxiliary_states()
    return [f"{name} {tuple(shape)}" for name, shape in zip(names, arguments + auxiliary) if name != "data"]


# Options of a convolution that say nothing: their defaults, and MXNet's hint for cuDNN.
SILENT = {"pad": "(0, 0)", "no_bias": "False", "num_group": "1", "workspace": "256"}


def graph_of(symbol):
    """Operators, names, options and inputs; for variables only the name."""
    nodes = json.loads(symbol.tojson())["nodes"]
    attrs = [n.get("attrs", {}) if n["op"] != "null" else {} for n in nodes]
    stated = [{key: value for key, value in one.items() if SILENT.get(key) != value} for one in attrs]
    return [
        (n["op"], n["name"], sorted(one.items()), [ref[:2] for ref in n["inputs"]]) for n, one in zip(nodes, stated)
    ]


def digest(symbol):
    text = "\n".join([*described(symbol), *map(str, graph_of(symbol))])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


DIGESTS = {
    "r18 version_unit=1": "7d8891185681",
    "r18 version_unit=2 version_se=1": "c2760ae1354e",
    "r34 version_input=0 version_output=F": "508d8ca35cf9",
    "r50 version_se=1 version_output=GAP": "6ec37d9d828e",
    "r100": "c866d8bf1b73",
    "r101": "5aba3151b4e5",
    "r124 version_unit=1": "01e93b25705a",
    "r152 version_unit=2": "f0c0b09fc245",
    "r269 version_input=2": "7d489d947af0",
    "r74 version_act=relu version_output=GNAP": "a73a8dbafcdb",
    "r90 version_output=GDC": "632468787822",
    "r18 version_output=F": "e18653942fb9",
    "r18 version_output=G": "c0bbf3e3b32b",
    "r18 version_output=H": "ea01895d01e1",
    "r18 version_output=I": "349ce48c2a30",
    "r18 version_output=J": "8ca8e42c6b3b",
    "r18 version_output=GAP": "6648e2810bda",
    "r18 version_output=CX": "fb238137b23b",
    "y1 version_output=E": "188a9292aa27",
    "r101 version_se=1 version_unit=2": "ca614d38722f",
    "r152 version_se=1 version_unit=1 version_act=relu": "3e8fc3fbcd0a",
    "r134": "3ea34b2d1126",
    "r101 bottleneck=0": "d296b18f01e8",
    "r160 version_output=SFC": "fbfaae3e27c5",
    "r18 version_output=FC": "349ce48c2a30",
    "y2 version_output=SFC": "b1b557aa96a2",
    "r34 version_input=0 version_unit=1": "357a4669c65d",
}


@pytest.mark.parametrize("case", DIGESTS)
def test_graph_is_insightfaces(case):
    name, *rest = case.split()
    options = {key: int(value) if value.isdigit() else value for key, value in (word.split("=") for word in rest)}
    assert digest(nets.symbol(nets.create(name, 512, **options))) == DIGESTS[case]


def norm(x, name, **options):
    return S.BatchNorm(x, name=name, eps=2e-5, momentum=0.9, **{"fix_gamma": False, **options})


def convolution(x, name, filters, kernel, stride=1):
    size = {"kernel": (kernel,) * 2, "stride": (stride,) * 2, "pad": (kernel // 2,) * 2}
    return S.Convolution(x, name=name, num_filter=filters, no_bias=True, **size)


def prelu(x, name):
    return S.LeakyReLU(x, act_type="prelu", name=name)


def lresnet50e_ir(embedding):
    """ArcFace's LResNet50E-IR, written without loops over options."""
    x = (S.identity(S.Variable("data"), name="id") - 127.5) * 0.0078125
    x = prelu(norm(convolution(x, "conv0", 64, 3), "bn0"), "relu0")
    for stage, (units, filters) in enumerate(((3, 64), (4, 128), (14, 256), (3, 512)), 1):
        for unit in range(1, units + 1):
            at, stride = f"stage{stage}_unit{unit}", 2 if unit == 1 else 1
            y = convolution(norm(x, f"{at}_bn1"), f"{at}_conv1", filters, 3)
            y = convolution(prelu(norm(y, f"{at}_bn2"), f"{at}_relu1"), f"{at}_conv2", filters, 3, stride)
            y = norm(y, f"{at}_bn3")
            x = y + (x if unit > 1 else norm(convolution(x, f"{at}_conv1sc", filters, 1, stride), f"{at}_sc"))
    x = S.Dropout(norm(x, "bn1"), p=0.4)
    return norm(S.FullyConnected(x, num_hidden=embedding, name="pre_fc1"), "fc1", fix_gamma=True)


def test_r50_is_lresnet50e_ir():
    with mx.name.NameManager():
        theirs = lresnet50e_ir(512)
    ours = nets.symbol(nets.create("r50"))
    assert graph_of(ours) == graph_of(theirs)
    assert described(ours) == described(theirs)


def test_r50_computes_the_same_as_its_graph():
    """The block run imperatively against the executor of the graph by hand."""
    size = (32, 32)
    network = nets.create("r50", 8, image_size=size)
    mx.random.seed(0)
    network.initialize(mx.init.Xavier(**network.xavier))
    draw = np.random.default_rng(0)
    for name, p in network.kept().items():
        if name.endswith(("gamma", "moving_var")):
            p.set_data(mx.nd.array(draw.uniform(0.5, 1.5, p.shape)))
        elif name.endswith(("beta", "moving_mean", "bias")):
            p.set_data(mx.nd.array(draw.normal(0, 0.3, p.shape)))
    x = mx.nd.array(draw.uniform(0, 255, (2, 3, *size)))
    theirs = lresnet50e_ir(8)
    arrays = {name: p.data() for name, p in network.kept().items()}
    auxiliary = {name: arrays.pop(name) for name in theirs.list_auxiliary_states()}
    bound = theirs.bind(mx.cpu(), {**arrays, "data": x}, aux_states=auxiliary, grad_req="null")
    want = bound.forward()[0].asnumpy()
    # Fifty layers that round in another order, which depends on the processor and the number of threads.
    np.testing.assert_allclose(network(x).asnumpy(), want, rtol=0, atol=5e-5 * np.abs(want).max())


def test_units_that_insightface_does_not_define():
    with pytest.raises(
        InsightError, match="--version-unit 4: InsightFace accepts it but does not define it; .*3, 1, 2"
    ):
        nets.create("r50", version_unit=4)
    with pytest.raises(InsightError, match="--bottleneck 1: is not known; LResNet50 takes 0"):
        nets.create("r50", bottleneck=1)
    with pytest.raises(InsightError, match="--version-output GDC: its convolution is 7x7, the last feature map 4x4"):
        nets.create("r50", version_output="GDC", version_input=0)
    with pytest.raises(InsightError, match="--emb-size 512, not 64"):
        nets.create("r50", 64, version_output="A")
    with pytest.raises(InsightError, match="--version-output GNAP: takes 512 channels, the last feature map has 2048"):
        nets.create("r101", version_output="GNAP")
