"""MobileFaceNet y1 and y2 against InsightFace's graphs."""

import json

import numpy as np
import pytest

from insight import checkpoint, nets
from insight._mxnet import mx
from insight.errors import InsightError


def graph_of(symbol):
    """Operators, names, attributes and inputs of a graph; for variables only the name."""
    return [
        (n["op"], n["name"], n.get("attrs", {}) if n["op"] != "null" else None, n["inputs"])
        for n in json.loads(symbol.tojson())["nodes"]
    ]


def test_size():
    network = nets.create("y1")
    weights = [p for name, p in network.collect_params().items() if name.endswith("_weight")]
    assert sum(int(np.prod(p.shape)) for p in weights) == 976_000  # about 0.98 million at E = 128
    assert network.embedding_size == 128
    assert nets.symbol(network).list_outputs() == ["fc1_output"]


def test_batchnorm_semantics_are_explicit_in_the_graph():
    nodes = {n[1]: n[2] for n in graph_of(nets.symbol(nets.create("y1")))}
    assert nodes["conv_1_batchnorm"] == {"fix_gamma": "False", "momentum": "0.9"}  # eps: the symbol's default, 1e-3
    assert nodes["fc1"] == {"eps": "2e-05", "fix_gamma": "True", "momentum": "0.9"}


def test_graph_is_insightfaces(model_y1):
    theirs = checkpoint.load(*model_y1)
    ours = nets.symbol(nets.create("y1", 128))
    assert graph_of(ours) == graph_of(theirs.symbol)
    assert ours.list_arguments() == theirs.symbol.list_arguments()
    assert ours.list_auxiliary_states() == theirs.symbol.list_auxiliary_states()


def test_checkpoint_of_theirs_loads_by_name(model_y1):
    network = nets.create("y1", 128)
    network.initialize()
    arg_params, aux_params = checkpoint.load_params(*model_y1)
    assert checkpoint.assign(network.kept(), {**arg_params, **aux_params}) == []
    theirs = checkpoint.load(*model_y1)
    x = mx.nd.array(np.random.default_rng(0).uniform(0, 255, (2, 3, 112, 112)))
    executor = theirs.symbol.bind(mx.cpu(), {**arg_params, "data": x}, aux_states=aux_params, grad_req="null")
    np.testing.assert_allclose(network(x).asnumpy(), executor.forward()[0].asnumpy(), rtol=1e-5, atol=1e-5)


def units_of(prefix):
    return [f"{prefix}_conv_{part}_" for part in ("sep", "dw", "proj")]


def arguments(units, head):
    """Argument names in order: a unit has a weight, gamma and beta, and a slope unless it projects or pools."""
    names = ["data"]
    for unit in units:
        names += [f"{unit}conv2d_weight", f"{unit}batchnorm_gamma", f"{unit}batchnorm_beta"]
        if "proj" not in unit and "7_7" not in unit:
            names.append(f"{unit}relu_gamma")
    return [*names, *head]


@pytest.mark.parametrize("name, blocks, weight", [("y1", (1, 4, 6, 2), "fc1_"), ("y2", (2, 8, 16, 4), "pre_fc1_")])
def test_names_in_order(name, blocks, weight):
    units = ["conv_1_"]
    if blocks[0] == 1:
        units.append("conv_2_dw_")
    else:
        units += [unit for i in range(blocks[0]) for unit in units_of(f"res_2_block{i}")]
    for before, stage, count in zip("234", "345", blocks[1:]):
        units += units_of(f"dconv_{before}{stage}")
        units += [unit for i in range(count) for unit in units_of(f"res_{stage}_block{i}")]
    units += ["conv_6sep_", "conv_6dw7_7_"]
    head = [f"{weight}weight", "pre_fc1_bias", "fc1_gamma", "fc1_beta"]
    assert nets.symbol(nets.create(name)).list_arguments() == arguments(units, head)


def test_y2_shapes():
    shapes = {name: p.shape for name, p in nets.create("y2").kept().items()}
    assert shapes["res_2_block1_conv_dw_conv2d_weight"] == (64, 1, 3, 3)
    assert shapes["res_2_block1_conv_proj_conv2d_weight"] == (64, 64, 1, 1)
    assert shapes["res_4_block15_conv_sep_conv2d_weight"] == (256, 128, 1, 1)
    assert shapes["dconv_45_conv_sep_conv2d_weight"] == (512, 128, 1, 1)
    assert shapes["pre_fc1_weight"] == (256, 512)


def test_with_another_output_the_weight_has_the_later_name():
    assert nets.create("y1", 64, version_output="E").kept()["pre_fc1_weight"].shape == (64, 512 * 7 * 7)


def test_unknown_names_and_options():
    with pytest.raises(InsightError, match="network 'y9' is not known; known: r100, r101"):
        nets.create("y9")
    with pytest.raises(
        InsightError,
        match=r"--version-unit 3: does nothing with MobileFaceNet, which uses --version-output, --version-se, ",
    ):
        nets.create("y1", version_unit=3)
    with pytest.raises(InsightError, match=r"--version-output Z: its output is a feature map.*takes GDC, E"):
        nets.create("y1", version_output="Z")
    assert nets.create("y1", version_output=None).options["version_output"] == "GDC"  # None: not given
