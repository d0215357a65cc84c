"""The numbered recipes: their training options, how they chain, and that each one runs."""

import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from interrupts import default_sigint

from insight.cli import build_parser, train_triplet
from insight.train.train_options import TrainOptions

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
OWN_FACES = set(RECIPES.glob("own_faces/*"))  # tests/flow/test_own_faces.py, test_own_faces_resuming.py
TRIPLETS = sorted(set(RECIPES.glob("*/[0-9]*_triplet.sh")) - OWN_FACES)
STAGES = sorted(set(RECIPES.glob("*/[0-9]*.sh")) - set(TRIPLETS) - OWN_FACES)
SCRIPTS = sorted(RECIPES.rglob("*.sh"))
PRESETS = sorted(RECIPES.rglob("*.env"))

# What each stage trains with: loss, s, m, rate, weight decay, its multiple for the last layers, bias of fc7,
# network, embedding length, and falls and length in images. One step of the published recipes is 512 images.
NUMBERS = {
    "mobilefacenet/10_softmax": ("0", 64, None, 0.1, 4e-5, 10, False, "y1", 128, (61_440_000, 71_680_000), 61_440_000),
    "mobilefacenet/20_arcface": (
        *("4", 64, 0.5, 0.1, 4e-5, 10, True, "y1", 128),
        *((61_440_000, 81_920_000, 92_160_000), 102_400_000),
    ),
    "mobilefacenet/30_finetune": (
        *("4", 128, 0.5, 0.001, 4e-5, 10, True, "y1", 128),
        *((10_240_000, 15_360_000), 20_480_000),
    ),
    "lresnet50e_ir/10_softmax": ("0", 64, None, 0.1, 5e-4, 1, False, "r50", 512, (20_480_000, 30_720_000), 40_960_000),
    "lresnet50e_ir/20_cosface": (
        *("2", 64, 0.35, 0.1, 5e-4, 1, True, "r50", 512),
        *((51_200_000, 71_680_000, 81_920_000), 102_400_000),
    ),
}
SETTINGS = """DATA_DIR MODELS PREFIX PRETRAINED GPUS BATCH_SIZE NETWORK EMB_SIZE TARGET SEED VERBOSE CKPT LR LR_SCHEDULE
    LR_STEPS LR_UNIT WARMUP MAX_STEPS END_EPOCH EXTRA TRIPLET TEACHER TEACHER_WEIGHT RECIPE_ENV SMOKE_DIR
    CUDA_VISIBLE_DEVICES RANKS HOSTS HOROVODRUN""".split()


def name_of(script):
    return str(script.relative_to(RECIPES).with_suffix(""))


def environment(settings):
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return {**clean, "GPUS": "", **{name: str(value) for name, value in settings.items()}}


def run(script, *arguments, cwd=ROOT, **settings):
    command = [str(RECIPES / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment(settings), cwd=cwd, timeout=300)


def options_of(script, *arguments, command="train-softmax", **settings):
    """Options of a training command, parsed from the one that a dry run prints."""
    dry = run(script, *arguments, "--dry-run", **settings)
    assert dry.returncode == 0, dry.stderr
    (line,) = [line for line in dry.stdout.splitlines() if line.startswith("    insight ")]
    words = shlex.split(line)
    assert words[1] == command
    args = build_parser(command).parse_args(words[2:])
    return TrainOptions.from_args(args) if command == "train-softmax" else train_triplet.options(args)


def test_shellcheck_finds_nothing():
    assert {name_of(script) for script in STAGES} == set(NUMBERS)
    for script in SCRIPTS:
        subprocess.run(["bash", "-n", script], check=True)
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if shellcheck is None:
        pytest.skip("no shellcheck here; extra test has it")
    found = subprocess.run([shellcheck, "-x", *SCRIPTS, *PRESETS], capture_output=True, text=True, cwd=ROOT)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("script", STAGES, ids=name_of)
def test_numbers(script):
    options = options_of(script)
    loss, s, m, lr, wd, fc7_wd_mult, bias, network, emb_size, falls, images = NUMBERS[name_of(script)]
    assert (options.loss_type, options.margin_s, options.margin_m, options.lr) == (loss, s, m, lr)
    assert (options.wd, options.fc7_wd_mult, not options.fc7_no_bias) == (wd, fc7_wd_mult, bias)
    assert (options.network, options.emb_size, options.per_batch_size) == (network, emb_size, 512)
    assert options.lr_schedule == "step" and options.lr_unit == "samples"
    assert tuple(map(int, options.lr_steps.split(","))) == falls
    assert options.max_steps * 512 == images
    assert options.resume and options.devices == "cpu"


@pytest.mark.parametrize("script", TRIPLETS, ids=name_of)
def test_numbers_of_triplets(script):
    options = options_of(script, command="train-triplet")
    network, emb_size, wd = ("y1", 128, 4e-5) if "mobile" in str(script) else ("r50", 512, 5e-4)
    assert (options.network, options.emb_size, options.wd) == (network, emb_size, wd)
    assert (options.loss_type, options.lr, options.mom) == ("triplet", 0.005, 0)
    assert (options.per_batch_size, options.max_steps, options.ckpt, options.lr_steps) == (150, 30_000, 3, "")
    assert options_of(script, command="train-triplet", BATCH_SIZE=50, CKPT=1).max_steps == 90_000
    assert len(TRIPLETS) == 2


@pytest.mark.parametrize(
    "settings, launched, devices, per_device",
    [
        ({"RANKS": 2}, "horovodrun -np 2 -H localhost:2 ", "cpu", 32),
        ({"RANKS": 2, "GPUS": "0,1,2,3"}, "horovodrun -np 2 -H localhost:2 ", "0,1,2,3", 16),
        ({"HOSTS": "a:2,b:2"}, "horovodrun -np 4 -H a:2,b:2 ", "cpu", 16),
        # horovodrun does not pass CUDA_VISIBLE_DEVICES on to other machines
        ({"HOSTS": "a:2,b:2", "GPUS": "2,3"}, "horovodrun -np 4 -H a:2,b:2 env CUDA_VISIBLE_DEVICES=2,3 ", "0,1", 16),
        ({"HOSTS": "a:1", "GPUS": "0,1"}, "horovodrun -np 1 -H a:1 env CUDA_VISIBLE_DEVICES=0,1 ", "0,1", 32),
        ({"HOSTS": "a:2", "HOROVODRUN": "--ssh-port 9"}, "horovodrun -np 2 -H a:2 --ssh-port 9 ", "cpu", 32),
        ({"RANKS": 1}, "", "cpu", 64),
    ],
)
def test_ranks_share_the_batch(settings, launched, devices, per_device):
    """A step has as many images, over all devices of all machines."""
    dry = run("mobilefacenet/20_arcface.sh", "--dry-run", BATCH_SIZE=64, **settings)
    (line,) = [line for line in dry.stdout.splitlines() if " insight train-softmax " in line]
    assert line.startswith(f"    {launched}insight ")
    assert f"--devices {devices} --per-batch-size {per_device} " in line


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"RANKS": "two"}, "RANKS=two: must be a whole number"),
        ({"RANKS": 2, "HOSTS": "a:2"}, "leave it out with HOSTS=a:2"),
        ({"HOSTS": "a,b"}, "HOSTS=a,b: must be like host1:2,host2:2"),
        ({"RANKS": 2, "GPUS": "0,1,2"}, "2 processes of a machine cannot share its 3 GPUs equally"),
        ({"RANKS": 3}, "must be a multiple of the 3 devices"),
    ],
)
def test_ranks_that_cannot_be(settings, message):
    dry = run("mobilefacenet/20_arcface.sh", "--dry-run", BATCH_SIZE=64, **settings)
    assert dry.returncode == 2
    assert message in dry.stderr


@pytest.mark.parametrize("batch, gpus, per_device, devices", [(64, "", 64, "cpu"), (256, "4,6", 128, "0,1")])
def test_any_batch_sees_as_many_images(batch, gpus, per_device, devices):
    options = options_of("mobilefacenet/20_arcface.sh", BATCH_SIZE=batch, GPUS=gpus)
    assert (options.per_batch_size, options.devices) == (per_device, devices)
    assert options.max_steps * batch == 102_400_000 and options.verbose * batch == 1_024_000
    assert options.lr_steps == "61440000,81920000,92160000"


def test_precedence_of_options(tmp_path):
    """The command line, then the environment, then the preset, then the recipe."""
    preset = tmp_path / "own.env"
    preset.write_text("LR=0.2 SEED=4 BATCH_SIZE=32\nLR_STEPS=10,20\nif [ $stage = softmax ]; then CKPT=3; fi\n")
    stage = "mobilefacenet/10_softmax.sh"
    options = options_of(stage, "--env", preset, "--seed", "5", LR="0.3", EXTRA="--dtype bfloat16 --color 1")
    assert (options.seed, options.lr, options.per_batch_size, options.ckpt) == (5, 0.3, 32, 3)
    assert (options.lr_steps, options.lr_unit, options.max_steps) == ("10,20", "steps", 0)
    assert (options.dtype, options.color, options.wd) == ("bfloat16", 1, 4e-5)
    assert options_of(stage, RECIPE_ENV=preset, CKPT="1").ckpt == 1
    assert run(stage, "--env", "own.env", "--dry-run", cwd=tmp_path).returncode == 0  # as the user's folder has it


@pytest.mark.parametrize("preset", PRESETS, ids=name_of)
def test_presets(preset):
    for script in sorted(preset.parent.glob("[0-9]*.sh")):
        command = "train-triplet" if script in TRIPLETS else "train-softmax"
        options = options_of(script, "--env", preset, command=command)
        assert options.lr_schedule == "step" or not options.lr_steps
        smaller = options_of(script, "--env", preset, "--smoke", command=command)
        assert (smaller.max_steps, smaller.per_batch_size, smaller.target) == (4, 8, "val")


def test_a_stage_starts_from_the_one_before(tmp_path):
    (tmp_path / "softmax").mkdir()
    (tmp_path / "softmax/model-finished.txt").write_text("60\n")
    stage = "mobilefacenet/20_arcface.sh"
    options = options_of(stage, MODELS=tmp_path)
    assert (options.pretrained, options.prefix) == (f"{tmp_path}/softmax/model,60", f"{tmp_path}/arcface/model")
    options = options_of(stage, MODELS=tmp_path, PRETRAINED="other,7", PREFIX="mine/model")
    assert (options.pretrained, options.prefix) == ("other,7", "mine/model")
    assert options_of("mobilefacenet/10_softmax.sh", MODELS=tmp_path).pretrained == ""


def test_a_teacher_of_all_stages(tmp_path):
    options = options_of("mobilefacenet/10_softmax.sh", MODELS=tmp_path, TEACHER="runs/r100/model,1", TEACHER_WEIGHT=50)
    assert (options.teacher, options.teacher_weight) == ("runs/r100/model,1", 50)
    assert options.teacher_file == f"{tmp_path}/teacher.npz"
    by_file = options_of("mobilefacenet/30_finetune.sh", MODELS=tmp_path, TEACHER=tmp_path / "t.npz")
    assert (by_file.teacher, by_file.teacher_file) == (f"{tmp_path}/t.npz", "")
    triplets = options_of(name_of(TRIPLETS[0]) + ".sh", command="train-triplet", MODELS=tmp_path, TEACHER="r100,1")
    assert triplets.teacher == "r100,1" and triplets.teacher_weight is None
    live = options_of("mobilefacenet/10_softmax.sh", MODELS=tmp_path, TEACHER="r100,1", EXTRA="--teacher-live")
    assert live.teacher_live and live.teacher_file == ""


@pytest.mark.parametrize(
    "script, arguments, settings, message",
    [
        ("mobilefacenet/10_softmax.sh", [], {}, "DATA_DIR is unset"),
        ("mobilefacenet/all.sh", [], {}, "DATA_DIR is unset"),
        ("lresnet50e_ir/10_softmax.sh", ["nowhere"], {}, "nowhere: no such folder"),
        ("mobilefacenet/20_arcface.sh", ["docs"], {"MODELS": "nothing"}, "nothing/softmax/model: that stage has not"),
        ("mobilefacenet/10_softmax.sh", ["docs", "--env", "no.env"], {}, "--env no.env: no such file"),
        ("mobilefacenet/10_softmax.sh", ["docs"], {"BATCH_SIZE": "many"}, "BATCH_SIZE=many: must be"),
        ("mobilefacenet/10_softmax.sh", ["docs"], {"BATCH_SIZE": 5, "GPUS": "0,1"}, "multiple of the 2 devices"),
        ("mobilefacenet/10_softmax.sh", ["docs"], {"LR_UNIT": "epochs"}, "set them together"),
        ("mobilefacenet/all.sh", ["docs"], {"PREFIX": "x"}, "PREFIX=x: belongs to one stage"),
    ],
)
def test_bad_settings_take_one_line(script, arguments, settings, message):
    failed = run(script, *arguments, **settings)
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: ") and failed.stderr.count("\n") == 1 and message in failed.stderr
    assert "insight " not in failed.stdout


def steps_of(prefix):
    lines = Path(f"{prefix}-log.jsonl").read_text().splitlines()
    return [entry["step"] for entry in map(json.loads, lines) if entry["kind"] == "step"]


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    """Folder in which the recipes run; the made-up set is packed once."""
    return tmp_path_factory.mktemp("recipes")


@pytest.mark.parametrize("recipe", ["mobilefacenet", "lresnet50e_ir"])
def test_smoke(recipe, trials, in_projects_environment):
    # a small relative of r50: the same stages in a third of the time; r50 takes its steps in tests/contract
    few = {"BATCH_SIZE": 4, "MAX_STEPS": 2, "NETWORK": "r18", "EMB_SIZE": 32}
    few = few if recipe == "lresnet50e_ir" else {"TRIPLET": "yes"}
    done = run(f"{recipe}/all.sh", "--smoke", "--frequent", 1, SMOKE_DIR=trials, **few)
    assert done.returncode == 0, done.stdout + done.stderr
    scripts = sorted((RECIPES / recipe).glob("[0-9]*.sh"))
    optional = scripts[-1] if "TRIPLET" in few else scripts.pop()
    for before, script in zip([None, *scripts], scripts):
        prefix = trials / "smoke" / recipe / script.stem[3:] / "model"
        assert steps_of(prefix)[-1] == few.get("MAX_STEPS", 4)
        assert Path(f"{prefix}-0001.params").exists()
        if before:
            assert f"--pretrained {prefix.parents[1]}/{before.stem[3:]}/model,1 " in done.stdout
            (line,) = [line for line in done.stdout.splitlines() if f"/{script.name} " in line and ": " in line]
            assert line.startswith("or: " if script == optional else "next: ")
            assert f"SMOKE_DIR={trials} " in line and "--smoke --frequent 1" in line
    ends = [line for line in done.stdout.splitlines() if line.startswith(("next: ", "or: "))]
    assert f"model-slim --model {prefix},1 " in (ends[-1] if "TRIPLET" in few else ends[-2])
    assert ("TRIPLET" in few) or optional.name in ends[-1]


def test_a_trial_can_be_repeated(trials, in_projects_environment):
    prefix = trials / "smoke/mobilefacenet/softmax/model"
    for _ in range(1 if Path(f"{prefix}-0001.params").exists() else 2):
        again = run("mobilefacenet/10_softmax.sh", "--smoke", "--frequent", 1, SMOKE_DIR=trials)
        assert again.returncode == 0, again.stderr
    assert again.stderr.count("INFO:root:Epoch") == 4
    assert [path.name for path in prefix.parent.glob("*.params")] == ["model-0001.params"]


def test_a_trial_with_a_teacher(trials, in_projects_environment):
    teacher = f"{trials}/smoke/mobilefacenet/softmax/model,1"
    if not Path(f"{teacher[:-2]}-0001.params").exists():
        test_a_trial_can_be_repeated(trials, in_projects_environment)
    settings = {"SMOKE_DIR": trials, "TEACHER": teacher, "MAX_STEPS": 2}
    done = run("mobilefacenet/20_arcface.sh", "--smoke", "--frequent", 1, **settings)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\tcos_teacher=") == 2
    (following,) = [shlex.split(line) for line in done.stdout.splitlines() if line.startswith("next: ")]
    assert f"TEACHER={teacher}" in following and "./recipes/mobilefacenet/30_finetune.sh" in following


def test_a_trial_on_two_ranks(trials, tmp_path, in_projects_environment):
    if importlib.util.find_spec("horovod") is None:
        pytest.skip("Horovod is not installed (the extra `distributed`), and the recipe would build it")
    settings = {"SMOKE_DIR": trials, "PREFIX": tmp_path / "model", "RANKS": 2, "MAX_STEPS": 2}
    done = run("mobilefacenet/10_softmax.sh", "--smoke", "--frequent", 1, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " horovodrun -np 2 -H localhost:2 insight train-softmax " in done.stdout
    assert "of each of 2 ranks" in done.stdout and "RANKS=2 " in done.stdout.splitlines()[-1]
    assert steps_of(tmp_path / "model") == [1, 2]
    assert (tmp_path / "model-finished.txt").read_text() == "1\n"


def processes_with(text):
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found += [process.name] if text.encode() in (process / "cmdline").read_bytes() else []
        except OSError:  # ended meanwhile
            pass
    return found


def stopped_by(number, settings):
    """Start the first stage, and after some steps signal only the script, as `kill` does."""
    process = subprocess.Popen(
        [str(RECIPES / "mobilefacenet/10_softmax.sh"), "--frequent", "1"],
        env=environment({**settings, "MAX_STEPS": 5000}),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=default_sigint,
    )
    steps = (line for line in process.stdout if line.startswith("INFO:root:Epoch"))
    next(steps), next(steps)
    process.send_signal(number)
    status = process.wait(timeout=60)
    assert not processes_with(str(settings["MODELS"]))  # before reading on: an orphan would hold the pipe open
    output = process.stdout.read()
    assert status == 128 + number, output
    assert "to resume: DATA_DIR=" in output and "--frequent 1" in output.splitlines()[-1]


def test_a_stopped_stage_resumes(trials, tmp_path, in_projects_environment):
    if not (trials / "smoke/set").exists():
        test_a_trial_can_be_repeated(trials, in_projects_environment)
    settings = {"DATA_DIR": trials / "smoke/set", "MODELS": tmp_path, "BATCH_SIZE": 4, "TARGET": "", "LR": 0.01}
    prefix = tmp_path / "softmax/model"
    stopped_by(signal.SIGINT, settings)
    first = steps_of(prefix)[-1]
    stopped_by(signal.SIGTERM, settings)
    second = steps_of(prefix)[-1]
    assert second > first >= 2
    finished = Path(f"{prefix}-finished.txt")
    assert not finished.exists()

    for message in (f"resumed at step {second} of {second + 2}", "nothing is left to resume"):
        done = run("mobilefacenet/10_softmax.sh", "--frequent", 1, **settings, MAX_STEPS=second + 2)
        assert done.returncode == 0, done.stderr
        assert message in done.stdout and "next: " in done.stdout
        assert steps_of(prefix) == list(range(1, second + 3))
        assert finished.read_text() == "1\n"
