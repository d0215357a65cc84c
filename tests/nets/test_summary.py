"""Sizes of networks, against counts by hand, and the command that prints them."""

import json

import pytest

from insight import nets
from insight.cli import run_command
from insight.nets import summary


def test_y1_by_hand():
    found = summary.summarize("y1")
    stages = {stage.title: stage for stage in found.stages}
    assert list(stages) == ["stem", "stage 3", "stage 4", "stage 5", "conv_6sep", "output"]
    # two convolutions, 3x3 from 3 to 64 and depthwise, their gammas, betas and slopes, at 56x56
    assert stages["stem"] == ("stem", (64, 56, 56), 64 * 27 + 64 * 9 + 2 * 3 * 64, 56 * 56 * (64 * 27 + 64 * 9))
    # 7x7 depthwise and its batch norm; FC with bias; the last batch norm
    assert stages["output"].parameters == 512 * 49 + 2 * 512 + 513 * 128 + 2 * 128
    assert stages["output"].multiply_adds == 512 * 49 + 512 * 128
    assert stages["conv_6sep"].shape == (512, 7, 7)
    assert found.parameters == sum(stage.parameters for stage in found.stages)
    assert round(found.multiply_adds / 1e6) == 221  # arXiv:1804.07573, Table 1's network


@pytest.mark.parametrize("name", ["y2", "r18", "gluoncv:mobilenet0.25"])
def test_each_array_is_counted_once(name):
    found = summary.summarize(name, 64)
    sizes = {key: p.data().size for key, p in _initialised(name).items()}
    running = sum(size for key, size in sizes.items() if "moving_" in key or "running_" in key)
    assert found.parameters == sum(sizes.values()) - running
    assert found.file_bytes == 4 * sum(sizes.values())


def _initialised(name):
    network = nets.create(name, 64)
    network.initialize()
    return network.kept()


def test_stages_of_r18():
    found = summary.summarize("r18", version_se=1)
    titles = [stage.title for stage in found.stages]
    assert titles == ["stem", "stage 1", "stage 2", "stage 3", "stage 4", "output"]
    shapes = [stage.shape for stage in found.stages]
    assert shapes == [(64, 112, 112), (64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7), (512,)]


def test_the_command(tmp_path, capsys):
    output = tmp_path / "new/size.json"
    assert run_command("networks", ["y1", "--emb-size", "256", "--json", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "conv_6sep" in printed
    (written,) = json.loads(output.read_text())
    assert written["embedding_size"] == 256
    assert written["stages"][0]["shape"] == [64, 56, 56]
    assert run_command("networks", ["--version-se", "1"]) == 2
    assert "options apply to one network: name it" in capsys.readouterr().err
    assert run_command("networks", ["r50", "--emb-size", "-1"]) == 2
    assert run_command("networks", ["y1", "--version-output", "D"]) == 2
    assert capsys.readouterr().err.count("error: ") == 2


def test_the_table_has_all_networks(capsys):
    assert run_command("networks", []) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert {row[0] for row in rows if row} >= set(nets.networks)
