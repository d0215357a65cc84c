"""A config.py is executed, joined by its own function, and every error in it is one line."""

import sys

import pytest
from sample_configs import OF_2021

from insight.configs.userfile import ConfigFile, Names
from insight.errors import InsightError

WITHOUT_JOIN = OF_2021[: OF_2021.index("def generate_config")]


class TestJoin:
    def test_defaults_name_the_entries(self):
        joined = ConfigFile("config.py", OF_2021).join()
        assert joined.names == Names("r100", "faces", "arcface")
        assert joined.names.folder == "r100-arcface-faces"

    def test_without_a_function_is_that_of_the_samples(self):
        for names in (("small", "faces", "triplet"), ("d169", "retina", "arcface")):
            own = ConfigFile("config.py", OF_2021).join(*names).values
            ours = ConfigFile("config.py", WITHOUT_JOIN).join(*names).values
            assert {**own, "num_workers": 1} == {**ours, "num_workers": 1}

    def test_the_files_function_counts(self):
        source = WITHOUT_JOIN + "def generate_config(*names):\n    config.update(emb_size=len(names), net_name='y1')\n"
        assert ConfigFile("config.py", source).join().values["emb_size"] == 3

    def test_place_of_a_value(self):
        joined = ConfigFile("config.py", OF_2021).join("r100fc")

        def line(text):
            return OF_2021.splitlines().index(text) + 1

        assert (
            joined.at("num_layers") == f"config.py:{line('network.r100fc.num_layers = 100')}: network.r100fc.num_layers"
        )
        assert joined.at("workspace") == f"config.py:{line('config.workspace = 128')}: config.workspace"
        assert joined.at("lr") == f"config.py:{line('default.lr = 0.11')}: default.lr"
        assert joined.at("loss_m2").endswith(": loss.arcface.loss_m2")
        assert joined.at("num_workers").endswith(": config.num_workers")
        assert joined.at("fp16") == f"config.py:{line('config.fp16 = False')}: config.fp16"  # not in the function

    @pytest.mark.parametrize(
        "names, says",
        [
            ({"network": "r99"}, "--network r99: config.py has no network.r99; it has r100, r101, "),
            ({"dataset": "x"}, "--dataset x: config.py has no dataset.x; it has faces, retina, grey"),
            ({"loss": "x"}, "--loss x: config.py has no loss.x; it has softmax, "),
        ],
    )
    def test_unknown_entry(self, names, says):
        with pytest.raises(InsightError) as error:
            ConfigFile("config.py", OF_2021).join(**names)
        assert str(error.value).startswith(says)

    def test_default_names_an_unknown_entry(self):
        source = OF_2021 + "default.loss = 'x'\n"
        with pytest.raises(InsightError, match=r"^config.py:\d+: default.loss x: config.py has no loss.x"):
            ConfigFile("config.py", source).join()
        with pytest.raises(InsightError, match=r"^config.py: default names no network; give --network"):
            ConfigFile("config.py", OF_2021 + "del default['network']\n").join()


class TestErrors:
    @pytest.mark.parametrize(
        "source, says",
        [
            ("a = 1\nb = = 2\n", "config.py:2: SyntaxError: invalid syntax"),
            ("a = 1\n\nb = c\n", "config.py:3: NameError: name 'c' is not defined"),
            ("def f():\n    return 1 / 0\n\n\nf()\n", "config.py:2: ZeroDivisionError: division by zero"),
            ("import json\njson.loads('{')\n", "config.py:2: JSONDecodeError: "),
            ("import no_such_module\n", "config.py:1: ModuleNotFoundError: No module named 'no_such_module'"),
            ("raise SystemExit('no')\n", "config.py:1: SystemExit: no"),
            ("from easydict import EasyDict\nEasyDict().x\n", "config.py:2: AttributeError: "),
            ("config = {}\n", "config.py: has no table network; want config, network, dataset, loss, default"),
            ("network = 3\nconfig = {}\n", "config.py: has no table network; "),
        ],
    )
    def test_one_line(self, source, says):
        with pytest.raises(InsightError) as error:
            ConfigFile("config.py", source)
        assert str(error.value).startswith(says)

    def test_in_its_function(self):
        source = WITHOUT_JOIN + "def generate_config(*names):\n    config.x = names[7]\n"
        line = source.splitlines().index("    config.x = names[7]") + 1
        with pytest.raises(InsightError, match=f"^config.py:{line}: IndexError: tuple index out of range"):
            ConfigFile("config.py", source).join()

    def test_reading(self, tmp_path):
        with pytest.raises(InsightError, match=r"^--config .*config.py: no such file; `insight train --print-config`"):
            ConfigFile.read(str(tmp_path / "config.py"))
        path = tmp_path / "binary.py"
        path.write_bytes(b"a = '\xff'\n")
        with pytest.raises(InsightError, match=r"binary.py: not a Python file"):
            ConfigFile.read(str(path))


def test_modules_of_its_folder(tmp_path, monkeypatch):
    """A file may import what lies beside it, in the encoding that it declares; the path is as before afterwards."""
    (tmp_path / "my_paths.py").write_text("ROOT = 'sets'\n")
    text = "# -*- coding: latin-1 -*-\nfrom my_paths import ROOT\n" + OF_2021 + "config.note = 'é' + __file__\n"
    (tmp_path / "config.py").write_bytes(text.encode("latin-1"))
    before = list(sys.path)
    file = ConfigFile.read(str(tmp_path / "config.py"))
    assert file.table("config")["note"] == "é" + str(tmp_path / "config.py")
    assert sys.path == before
    monkeypatch.delitem(sys.modules, "my_paths")
