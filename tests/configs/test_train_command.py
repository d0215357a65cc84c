"""`insight train`: the run of train-softmax, stopped and resumed, printing, errors of one line."""

import json
import signal
import subprocess
import sys

import pytest
from sample_configs import OF_2021

from insight import checkpoint
from insight.cli import build_parser, run_command
from insight.train.loop import Run
from insight.train.train_options import TrainOptions

SMALL = """\
from easydict import EasyDict as edict

config = edict()
config.workspace = 256
config.emb_size = 64
config.bn_mom = 0.9
config.net_output = 'E'
config.net_blocks = [1, 4, 6, 2]
config.max_steps = 4
config.seed = 3

network = edict()
network.y1 = edict()
network.y1.net_name = 'fmobilefacenet'
network.y1.net_output = 'GDC'
network.y1.emb_size = 8

dataset = edict()
dataset.faces = edict()
dataset.faces.dataset_path = {data_dir!r}
dataset.faces.num_classes = 3
dataset.faces.image_shape = (112, 112, 3)
dataset.faces.val_targets = ['val']

loss = edict()
loss.arcface = edict(loss_name='margin_softmax', loss_s=32.0, loss_m1=1.0, loss_m2=0.2, loss_m3=0.0)
loss.negative = edict(loss_name='margin_softmax', loss_s=32.0, loss_m1=1.0, loss_m2=0.0, loss_m3=-0.1)

default = edict()
default.network = 'y1'
default.dataset = 'faces'
default.loss = 'arcface'
default.lr = 0.02
default.lr_steps = '3'
default.per_batch_size = 4
default.frequent = 1
default.verbose = 4
default.ckpt = 2
default.models_root = {models_root!r}
"""
PLAIN = [
    "--network",
    "y1",
    "--emb-size",
    "8",
    "--seed",
    "3",
    "--loss-type",
    "4",
    "--margin-s",
    "32",
    "--margin-m",
    "0.2",
]
PLAIN += [
    "--lr",
    "0.02",
    "--lr-steps",
    "3",
    "--per-batch-size",
    "4",
    "--frequent",
    "1",
    "--verbose",
    "4",
    "--ckpt",
    "2",
]
PLAIN += ["--target", "val", "--image-size", "112,112"]


@pytest.fixture
def config(set_dir, tmp_path):
    path = tmp_path / "config.py"
    path.write_text(SMALL.format(data_dir=str(set_dir), models_root=str(tmp_path / "models")))
    return str(path)


def weights(prefix, number=1):
    _, arguments, _ = checkpoint.load(str(prefix), number)
    return {name: array.asnumpy().tobytes() for name, array in arguments.items()}


def rows(prefix, kind):
    with open(f"{prefix}-log.jsonl", encoding="utf-8") as file:
        return [row for row in map(json.loads, file) if row["kind"] == kind]


def test_is_train_softmax_and_resumes_by_itself(config, set_dir, tmp_path, capsys):
    """Two steps, the same command for four, and once more; train-softmax with these options ends in the same bits."""
    prefix = tmp_path / "models/y1-arcface-faces/model"
    assert run_command("train", ["--config", config, "--max-steps", "2"]) == 0
    out = capsys.readouterr().out
    assert f"note: {config}: keys without a meaning here: workspace (docs/config.md)\n" in out
    assert "2 steps done" in out
    assert "--resume" not in out
    assert run_command("train", ["--config", config]) == 0
    assert "resumed at step 2 of 4" in capsys.readouterr().out
    assert run_command("train", ["--config", config]) == 0
    assert "nothing is left to resume" in capsys.readouterr().out

    plain = tmp_path / "plain/model"
    place = ["--data-dir", str(set_dir), "--prefix", str(plain), "--resume"]
    for steps in ("2", "4"):
        assert run_command("train-softmax", [*PLAIN, *place, "--max-steps", steps]) == 0
    assert weights(prefix, 2) == weights(plain, 2)
    mine, others = (rows(path, "start")[0]["options"] for path in (prefix, plain))
    own = {"prefix": "", "max_steps": 0, "resume": False}
    assert {**mine, **own} == {**others, **own}


def test_another_run_of_the_same_name(config, tmp_path, capsys):
    assert run_command("train", ["--config", config, "--max-steps", "1", "--verbose", "1"]) == 0
    assert run_command("train", ["--config", config, "--max-steps", "1", "--lr", "0.5"]) == 2
    err = capsys.readouterr().err
    ways = "or name another --prefix, or give --no-resume: it has ended\n"
    assert "--lr 0.5 (was 0.02): the run of" in err and err.endswith(ways)
    assert run_command("train", ["--config", config, "--max-steps", "1", "--per-batch-size", "3"]) == 2
    err = capsys.readouterr().err
    assert "a step takes 3 images, in the run of" in err and err.endswith(f"give --per-batch-size 4, {ways}")
    assert run_command("train", ["--config", config, "--max-steps", "1", "--lr", "0.5", "--no-resume"]) == 0
    assert checkpoint.epochs(str(tmp_path / "models/y1-arcface-faces/model")) == [1, 2]


def test_one_that_is_stopped_says_how_it_goes_on(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Run, "_signal", lambda self: signal.SIGTERM if self.step else 0)
    assert run_command("train", ["--config", config]) == 128 + signal.SIGTERM
    state = tmp_path / "models/y1-arcface-faces/model-resume.npz"
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == f"error: stopped at step 1 of 4; the same command goes on from {state}"
    assert run_command("train", ["--config", config, "--lr", "0.5"]) == 2
    assert capsys.readouterr().err.endswith("resume it with its options, or name another --prefix\n")


class TestPrintConfig:
    def test_is_what_train_reads(self, tmp_path, capsys):
        options = ["--data-dir", "there", "--network", "y1", "--loss", "cosface", "--lr", "0.05", "--warmup", "10"]
        assert run_command("train", ["--print-config", *options]) == 0
        path = tmp_path / "config.py"
        path.write_text(capsys.readouterr().out)
        assert run_command("train", ["--print-config", "--config", str(path)]) == 0
        again = capsys.readouterr()
        assert (again.out, again.err) == (path.read_text(), "")
        for line in ("default.lr = 0.05", "config.warmup = 10.0", "dataset.faces.dataset_path = 'there'"):
            assert line in again.out.splitlines()

    def test_ignores_the_folders_file(self, tmp_path, monkeypatch, capsys):
        (tmp_path / "config.py").write_text("raise ValueError\n")
        monkeypatch.chdir(tmp_path)
        assert run_command("train", ["--print-config"]) == 0
        assert "default.network = 'r50'" in capsys.readouterr().out

    def test_of_a_users_file(self, tmp_path, capsys):
        path = tmp_path / "config.py"
        path.write_text(OF_2021)
        assert run_command("train", ["--print-config", "--config", str(path), "--network", "y2"]) == 0
        out, err = capsys.readouterr()
        assert "network.y2.emb_size = 192" in out
        assert err.startswith(f"note: {path}: keys without a meaning here: ce_loss, ")


class TestErrors:
    """One line, status 2, with the place in the file."""

    @staticmethod
    def line(capsys, *argv):
        assert run_command("train", list(argv)) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    def test_of_the_user(self, tmp_path, capsys):
        path = tmp_path / "config.py"
        path.write_text("config = {}\nnetwork = missing\n")
        assert self.line(capsys, "--config", str(path)) == (
            f"error: {path}:2: NameError: name 'missing' is not defined"
        )

    def test_no_file(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        assert self.line(capsys).startswith("error: --config config.py: no such file; `insight train --print-config`")

    def test_of_the_trainer(self, config, capsys):
        line = self.line(capsys, "--config", config, "--loss", "negative")
        number = (
            SMALL.splitlines().index(next(row for row in SMALL.splitlines() if row.startswith("loss.negative"))) + 1
        )
        assert line.startswith(f"error: {config}:{number}: loss.negative.loss_m3: --margin-b -0.1: ")

    def test_of_the_set(self, config, capsys):
        with open(config, "a", encoding="utf-8") as file:
            file.write("dataset.faces.image_shape = (96, 96, 3)\n")
        assert ": dataset.faces.image_shape: --image-size 96,96: " in self.line(capsys, "--config", config)

    def test_of_a_path(self, config, capsys):
        with open(config, "a", encoding="utf-8") as file:
            file.write("dataset.faces.dataset_path = 'missing'\n")
        line = self.line(capsys, "--config", config)
        number = SMALL.count("\n") + 1
        assert line.startswith(f"error: {config}:{number}: dataset.faces.dataset_path: missing: no such folder")

    def test_of_the_command_line(self, config, capsys):
        line = self.line(capsys, "--config", config, "--bn-mom", "2")
        assert line == "error: --bn-mom 2: must be in 0 <= bn-mom < 1"


def test_has_every_option_of_the_trainer():
    names = {action.dest for action in build_parser("train")._actions}
    fields = set(vars(TrainOptions(data_dir=".")))
    assert fields - names == {"loss_type"}  # --loss selects it


def test_typed_is_told_from_left_out():
    args = vars(build_parser("train").parse_args(["--lr", "0.1"]))
    assert args["lr"] == 0.1
    assert not {"wd", "mom", "version_output", "per_batch_size", "kvstore", "adadistill"} & set(args)


def test_script_of_insightface(tmp_path):
    script = [sys.executable, "tools/train.py", "--print-config"]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('"""Configuration of `insight train`')
