"""Checkpoints: files that MXNet reads, errors with the file and the reason."""

import numpy as np
import pytest

from insight import checkpoint
from insight._mxnet import mx
from insight.errors import InsightError


@pytest.fixture
def saved(tmp_path):
    """A one-layer checkpoint under tmp/model, epochs 3 and 12."""
    symbol = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, name="fc1")
    symbol = mx.sym.BatchNorm(symbol, name="bn")
    args = {
        "fc1_weight": mx.nd.ones((2, 3)),
        "fc1_bias": mx.nd.zeros(2),
        "bn_gamma": mx.nd.ones(2),
        "bn_beta": mx.nd.zeros(2),
    }
    aux = {"bn_moving_mean": mx.nd.zeros(2), "bn_moving_var": mx.nd.ones(2)}
    for epoch in (12, 3):
        checkpoint.save(str(tmp_path / "model"), epoch, checkpoint.Checkpoint(symbol, args, aux))
    return tmp_path


def test_round_trip_and_plain_mxnet(saved):
    ours = checkpoint.load(str(saved / "model"), 12)
    symbol, args, aux = mx.model.load_checkpoint(str(saved / "model"), 12)
    assert ours.symbol.tojson() == symbol.tojson()
    assert ours.arg_params.keys() == args.keys() and ours.aux_params.keys() == aux.keys()
    assert checkpoint.epochs(str(saved / "model")) == [3, 12]
    assert sorted(p.name for p in saved.iterdir()) == ["model-0003.params", "model-0012.params", "model-symbol.json"]


def test_a_save_that_fails_leaves_neither_file(tmp_path, monkeypatch):
    def full(*_):
        raise mx.MXNetError("Check failed: FileStream.Write incomplete")

    monkeypatch.setattr(mx.nd, "save", full)
    symbol = mx.sym.Variable("data") * 2
    with pytest.raises(OSError, match="No space left on device"):
        checkpoint.save(str(tmp_path / "model"), 1, checkpoint.Checkpoint(symbol, {}, {}))
    assert not list(tmp_path.iterdir())


def test_the_error_of_an_unwritable_folder_names_it(tmp_path):
    small = checkpoint.Checkpoint(mx.sym.Variable("data") * 2, {}, {})
    with pytest.raises(FileNotFoundError, match="no/m-symbol.json"):
        checkpoint.write(tmp_path / "no/m-symbol.json", tmp_path / "no/m-0000.params", small)


@pytest.mark.parametrize("spec", ["model", "model,", ",3", "model,x", "model,-1", "model,²"])
def test_spec_must_name_an_epoch(spec):
    with pytest.raises(InsightError, match="prefix,epoch"):
        checkpoint.parse_spec(spec)


def test_spec_may_contain_commas():
    assert checkpoint.parse_spec("a,b/model,12") == ("a,b/model", 12)


def test_missing_epoch_lists_existing_ones(saved):
    with pytest.raises(InsightError, match=r"model-0004\.params: no such checkpoint; existing epochs: 3, 12"):
        checkpoint.load(str(saved / "model"), 4)
    with pytest.raises(InsightError, match="no checkpoint .* exists"):
        checkpoint.load(str(saved / "other/model"), 4)


def test_damaged_files(saved, capfd):
    params = saved / "model-0003.params"
    whole = params.read_bytes()
    for bad in (b"", whole[:40], b"junk" * 30):
        params.write_bytes(bad)
        with pytest.raises(InsightError, match=r"model-0003\.params: "):
            checkpoint.load(str(saved / "model"), 3)
    mx.nd.save(str(params), {"weight": mx.nd.ones(1)})
    with pytest.raises(InsightError, match="want the params of a Module checkpoint"):
        checkpoint.load(str(saved / "model"), 3)
    params.write_bytes(whole)
    (saved / "model-symbol.json").write_text("{ no symbol")
    with pytest.raises(InsightError, match=r"model-symbol\.json: not an MXNet symbol"):
        checkpoint.load(str(saved / "model"), 3)
    (saved / "model-symbol.json").unlink()
    with pytest.raises(InsightError, match=r"model-symbol\.json: no such file"):
        checkpoint.load(str(saved / "model"), 3)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_symbol_that_an_editor_saved(saved, encoding):
    path = saved / "model-symbol.json"
    want = checkpoint.load(str(saved / "model"), 3).symbol.tojson()
    path.write_bytes(path.read_text().replace("\n", "\r\n").encode(encoding))
    assert checkpoint.load(str(saved / "model"), 3).symbol.tojson() == want
    path.write_bytes(b"\xff\x80 no text \0")
    with pytest.raises(InsightError, match=r"model-symbol\.json: not an MXNet symbol"):
        checkpoint.load(str(saved / "model"), 3)


def test_loading_an_old_symbol_prints_nothing(model_y1, capfd):
    checkpoint.load(*model_y1)
    assert capfd.readouterr().err == ""


def test_assign_by_name_and_shape():
    params = {
        n: mx.gluon.Parameter(n, shape=s) for n, s in {"a": (2,), "b": (3,), "fc1_weight": (2, 2), "c": (1,)}.items()
    }
    for parameter in params.values():
        parameter.initialize(mx.init.Zero())
    arrays = {"a": mx.nd.ones(2), "b": mx.nd.ones(4), "pre_fc1_weight": mx.nd.ones((2, 2)), "extra": mx.nd.ones(1)}
    assert checkpoint.assign(params, arrays) == ["b", "c"]
    np.testing.assert_array_equal(params["fc1_weight"].data().asnumpy(), np.ones((2, 2)))
    np.testing.assert_array_equal(params["b"].data().asnumpy(), np.zeros(3))
    with pytest.raises(InsightError, match="another --network"):
        checkpoint.assign(params, {"zzz": mx.nd.ones(1)})
