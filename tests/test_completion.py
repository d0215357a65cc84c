"""Completion in the shells: what bash answers, and that every shell accepts its script."""

import contextlib
import io
import shlex
import shutil
import subprocess

import pytest

from insight.cli import command_names, completion, run_command

ANSWER = """
source {script}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_shtab_insight
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """Folder with the script of each shell, by the shell's name."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in completion.SHELLS:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert run_command("completion", [shell]) == 0
        (folder / shell).write_text(printed.getvalue())
    return folder


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_a_shell_accepts_its_script(scripts, shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, "-n", scripts / shell], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_command_is_completed(scripts, shell):
    text = (scripts / shell).read_text()
    assert [name for name in command_names() if name not in text] == []


@pytest.mark.parametrize(
    "typed, answer",
    [
        ("tra", ["train", "train-softmax", "train-triplet"]),
        ("train-softmax --lr-s", ["--lr-schedule", "--lr-steps"]),
        ("train-softmax --lr-schedule ", ["cosine", "poly", "step"]),
        ("train-softmax --network y", ["y1", "y2"]),
        ("train-softmax --lr 0.1 --loss-type arcface_", ["arcface_inter", "arcface_intra"]),
        ("embed --engine o", ["onnxruntime", "openvino"]),
        ("embed --model mod", ["model-0001.params", "model-symbol.json", "models"]),
        ("embed --batch-size m", []),
        ("dataset-check se", ["set"]),
        ("dataset-check set --sched", ["--scheduler-file"]),
        ("completion ", ["bash", "fish", "zsh"]),
    ],
)
def test_bash_answers(scripts, tmp_path, typed, answer):
    for name in ("models", "set", "other"):
        (tmp_path / name).mkdir()
    for name in ("model-0001.params", "model-symbol.json"):
        (tmp_path / name).touch()
    words = " ".join(["insight", *map(shlex.quote, typed.split(" "))])
    code = ANSWER.format(script=scripts / "bash", words=words)
    done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (sorted(filter(None, done.stdout.splitlines())), done.stderr) == (answer, "")


def test_another_shell_is_refused(capsys):
    assert run_command("completion", ["ksh"]) == 2
    assert "'ksh'" in capsys.readouterr().err
