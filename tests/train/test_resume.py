"""A run that is killed and resumed ends with the same bits as one that never was."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from interrupts import default_sigint

from insight._mxnet import mx
from insight.errors import InsightError
from insight.formats.faceset import FaceSet
from insight.train import resume
from insight.train.learner import Learner
from insight.train.loop import Run, train
from insight.train.start import prepare
from insight.train.stop import Stopped
from insight.train.train_options import TrainOptions

RUN = Path(__file__).parent / "killed_run.py"
TIMES = ("time", "speed", "wait", "cpu", "path")  # what may differ between two runs


def start(folder, options, step=0, fraction=0.0):
    """Run it; returns the exit status."""
    folder.mkdir(exist_ok=True)
    file = folder / "options.json"
    file.write_text(json.dumps({**options, "prefix": str(folder / "model")}))
    command = [sys.executable, str(RUN), str(file), str(step), str(fraction)]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=240)


def log(folder):
    rows = [json.loads(line) for line in (folder / "model-log.jsonl").read_text().splitlines()]
    kept = [row for row in rows if row["kind"] in ("step", "verification", "saved", "saved_averages")]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in kept]


def same(a, b):
    """Every checkpoint, the last state's arrays, and the log."""
    names = sorted(p.name for p in a.glob("model*-0*.params"))
    assert names == sorted(p.name for p in b.glob("model*-0*.params")) and names
    for name in names:
        assert (a / name).read_bytes() == (b / name).read_bytes(), name
    with np.load(a / "model-resume.npz") as mine, np.load(b / "model-resume.npz") as theirs:
        assert mine.files == theirs.files and {"parameter/fc7_weight@0", "momentum/fc7_weight"} < set(mine.files)
        for name in mine.files[1:]:
            np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)
    assert log(a) == log(b)


BASE = {
    "network": "tiny",
    "emb_size": 8,
    "per_batch_size": 6,
    "max_steps": 20,
    "target": "val",
    "verbose": 8,
    "save_every": 3,
    "frequent": 5,
    "ckpt": 2,
    "lr_steps": "12",
    "color": 1,
    "resume": True,
}


@pytest.mark.parametrize(
    "more",
    [
        {"loss_type": "1", "beta": 20.0},
        {"loss_type": "2", "clip_norm": 0.5, "ema": 0.9, "ckpt": 1},
        {"loss_type": "4", "centres": 3, "devices": "cpu,cpu", "per_batch_size": 3, "freeze_backbone_steps": 4},
        {"loss_type": "4", "sampler": "blocks", "block_images": 2, "buffer_images": 8},
    ],
    ids=["sphereface", "cosface-averages", "three-centres-two-devices", "blocks"],
)
def test_killed_and_resumed_is_never_stopped(set_dir, tmp_path, more):
    options = {**BASE, **more, "data_dir": str(set_dir)}
    done = start(tmp_path / "whole", options)
    assert done.returncode == 0, done.stderr
    draw = random.Random(str(more))
    for i, step in enumerate(sorted(draw.sample(range(1, 21), 2))):
        folder = tmp_path / f"killed{i}"
        killed = start(folder, options, step, draw.uniform(0, 1.5))
        assert killed.returncode in (-signal.SIGKILL, 0), killed.stderr
        assert start(folder, options).returncode == 0
        same(tmp_path / "whole", folder)


def test_sigterm_saves_and_resume_goes_on(set_dir, tmp_path):
    options = {**BASE, "data_dir": str(set_dir), "save_every": 0, "verbose": 500, "max_steps": 400, "loss_type": "2"}
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "options.json").write_text(json.dumps({**options, "prefix": str(folder / "model")}))
    command = [sys.executable, str(RUN), str(folder / "options.json"), "0", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while "Speed" not in process.stderr.readline():
            pass
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert "stopping when this step is done" in err
    assert (
        "stopped at step" in err and "--resume goes on" in err
    )  # the traceback's last line: there is no command line around it
    step = resume.load(str(folder / "model")).step
    assert 5 <= step < 400
    assert start(folder, {**options, "max_steps": step + 3}).returncode == 0
    assert start(tmp_path / "whole", {**options, "max_steps": step + 3}).returncode == 0
    same(tmp_path / "whole", folder)


def test_a_signal_between_two_statements_loses_no_step(set_dir, tmp_path, monkeypatch):
    """The state that the message names is that of its step, wherever in the loop the signal comes."""
    due = Run._verification_due

    def late(self):  # asked last, before the loop decides whether to save
        found = due(self)
        if self.step == 2:
            self.stop.signal = signal.SIGTERM
        return found

    monkeypatch.setattr(Run, "_verification_due", late)
    options = {**BASE, "network": "y1", "data_dir": str(set_dir), "save_every": 0, "verbose": 500}
    with pytest.raises(Stopped, match="stopped at step 3 of 20"):
        train(TrainOptions(**{**options, "prefix": str(tmp_path / "model")}))
    assert resume.load(str(tmp_path / "model")).step == 3


def test_a_signal_within_a_print_only_asks(tmp_path):
    """Python's buffered writers take no second call from a handler that interrupts the first."""
    script = (
        "import io, os, signal, sys\n"
        "from insight.train.stop import Stopped, StopRequest\n"
        "class Slow(io.RawIOBase):\n"
        "    writable = lambda self: True\n"
        "    def write(self, data):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        return os.write(2, data)\n"
        "sys.stderr = io.TextIOWrapper(io.BufferedWriter(Slow()))\n"
        "with StopRequest() as stop:\n"
        "    print('line', file=sys.stderr, flush=True)\n"
        "    assert stop.signal == signal.SIGINT\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, preexec_fn=default_sigint)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == ["stopping when this step is done; once more to stop at once", "line"]


@pytest.fixture
def stopped(set_dir, tmp_path):
    """Options of a run, and a state that says it stands at step 3 of 20."""
    options = TrainOptions(**{**BASE, "data_dir": str(set_dir), "prefix": str(tmp_path / "model")})
    meta = {"step": 3, "total_steps": 20, "finished": False, "set": FaceSet.open(str(set_dir)).fingerprint()}
    meta["options"] = json.loads(json.dumps(vars(options)))
    resume.save(options.prefix, meta, {"a": np.ones(2, np.float32)})
    return options, meta


def test_state_round_trip(stopped):
    options, meta = stopped
    state = resume.find(options, meta["set"])
    assert state.meta == meta and state.step == 3 and state.names() == ["a"]
    assert os.listdir(Path(options.prefix).parent) == ["model-resume.npz"]


@pytest.mark.parametrize(
    "name, value, flag",
    [
        ("network", "y1", "--network y1 (was tiny)"),
        ("loss_type", "4", None),
        ("loss_type", "0", "--loss-type 0 (was 4)"),
        ("lr", 0.3, "--lr 0.3 (was 0.1)"),
        ("seed", 1, "--seed 1 (was 0)"),
        ("num_workers", 7, None),
        ("max_steps", 30, None),
    ],
)
def test_resume_names_what_differs(stopped, name, value, flag):
    options, meta = stopped
    setattr(options, name, value)
    if flag is None:
        assert resume.find(options, meta["set"]).step == 3
    else:
        with pytest.raises(InsightError) as info:
            resume.find(options, meta["set"])
        assert flag in str(info.value)


@pytest.mark.parametrize(
    "loss, recorded, now, flag",
    [
        ("4", 0.5, None, None),  # recorded before margins had defaults of their own: the same margin
        ("4", None, 0.5, None),
        ("4", 0.4, None, "--margin-m 0.5 (was 0.4)"),
        ("adaface", None, 0.4, None),
        ("adaface", 0.5, None, "--margin-m 0.4 (was 0.5)"),
        ("0", 0.5, None, None),  # softmax does not use it
    ],
)
def test_a_default_of_the_margin_s_own_is_what_it_stands_for(stopped, loss, recorded, now, flag):
    options, meta = stopped
    options.loss_type = meta["options"]["loss_type"] = loss
    options.margin_m, meta["options"]["margin_m"] = now, recorded
    assert options.differences(meta["options"]) == ([flag] if flag else [])


def shifted(rows, columns, begin):
    return np.arange(begin, begin + rows * columns, dtype=np.float32).reshape(rows, columns)


def test_any_size_goes_in_and_out(tmp_path, monkeypatch):
    """Over several blocks and less than one, from NumPy's and MXNet's arrays into either, and several at once."""
    monkeypatch.setattr(resume, "BLOCK", 5)
    prefix = str(tmp_path / "model")
    arrays = {"a": shifted(3, 7, 0), "b/c@0": shifted(1, 1, 50), "d": np.arange(10, dtype=np.float32)}
    for kind in (np.array, mx.nd.array):
        resume.save(prefix, {"step": 1}, {name: kind(array) for name, array in arrays.items()})
        with np.load(resume.state_path(prefix), allow_pickle=False) as file:  # the format is NumPy's
            assert file.files == ["meta", *arrays]
            for name, array in arrays.items():
                np.testing.assert_array_equal(file[name], array)
                assert file[name].dtype == np.float32
        state = resume.load(prefix)
        assert state.names() == list(arrays)
        filled = {name: [np.zeros_like(a), mx.nd.zeros(a.shape), mx.nd.zeros(a.shape)] for name, a in arrays.items()}
        state.read_into(filled)
        for name, copies in filled.items():
            for copy in copies:
                copy = copy if isinstance(copy, np.ndarray) else copy.asnumpy()
                np.testing.assert_array_equal(copy, arrays[name])


def test_states_that_numpy_wrote_are_read(tmp_path):
    """Those of earlier versions."""
    prefix = str(tmp_path / "model")
    meta = np.frombuffer(json.dumps({"step": 7, "finished": False}).encode(), np.uint8)
    with open(resume.state_path(prefix), "wb") as out:
        np.savez(out, meta=meta, **{"parameter/w@0": shifted(4, 3, 1)})
    state = resume.load(prefix)
    assert (state.step, state.finished, state.names()) == (7, False, ["parameter/w@0"])
    into = mx.nd.zeros((4, 3))
    state.read_into({"parameter/w@0": [into]})
    np.testing.assert_array_equal(into.asnumpy(), shifted(4, 3, 1))


def test_what_does_not_fit_is_refused(tmp_path):
    prefix = str(tmp_path / "model")
    path = resume.state_path(prefix)
    resume.save(prefix, {"step": 1}, {"a": shifted(30, 40, 0)})
    state, whole = resume.load(prefix), path.read_bytes()

    def refused(arrays, reason):
        with pytest.raises(InsightError, match=f"not the state of a training run .*{reason}.* move it away"):
            state.read_into(arrays)

    refused({"b": [np.zeros((30, 40), np.float32)]}, "'b.npy'")
    refused({"a": [np.zeros((40, 30), np.float32)]}, r"a is float32 \(30, 40\), and this run has float32 \(40, 30\)")
    refused({"a": [np.zeros((30, 40))]}, "float64")
    at = whole.rindex(shifted(30, 40, 0)[-1].tobytes())
    path.write_bytes(whole[:at] + b"\1" + whole[at + 1 :])
    refused({"a": [np.zeros((30, 40), np.float32)]}, "CRC")
    for length in (0, 10, at, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InsightError, match="not the state of a training run"):
            resume.load(prefix)
    np.savez(path, meta=np.frombuffer(b"{", np.uint8))
    with pytest.raises(InsightError, match="not the state of a training run"):
        resume.load(prefix)


COPIES = """
    import sys
    from insight._mxnet import keep_freed_memory, mx
    from insight.train import resume

    def peak():
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))

    keep_freed_memory()
    arrays = {f"array{i}": mx.nd.ones((1 << 18, 96)) for i in range(3)}  # 96 MiB each
    mx.nd.waitall()
    before = peak()
    resume.save(sys.argv[1], {"step": 1}, arrays)
    saved = peak()
    resume.load(sys.argv[1]).read_into({name: [array] for name, array in arrays.items()})
    print(before, saved - before, peak() - saved)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_saving_and_loading_hold_no_second_copy(tmp_path):
    command = [sys.executable, "-c", dedent(COPIES), str(tmp_path / "model")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, saving, loading = map(int, done.stdout.split())
    assert before > 288 and saving < 48 and loading < 48  # MiB


def test_refusals(stopped):
    options, meta = stopped
    with pytest.raises(InsightError, match="not the set that the run"):
        resume.find(options, "another")
    options.resume = False
    with pytest.raises(InsightError, match=r"unfinished run stands here, at step 3 of 20"):
        resume.find(options, meta["set"])
    resume.state_path(options.prefix).write_bytes(b"PK no zip")
    with pytest.raises(InsightError, match="not the state of a training run"):
        resume.find(options, meta["set"])
    resume.state_path(options.prefix).unlink()
    assert resume.find(options, meta["set"]) is None


def test_another_number_of_devices_goes_on(set_dir, tmp_path, capsys):
    """If a step takes as many images; the running statistics begin with the mean."""
    options = {**BASE, "network": "y1", "data_dir": str(set_dir), "prefix": str(tmp_path / "m"), "target": ""}
    train(TrainOptions(**{**options, "devices": "cpu,cpu", "per_batch_size": 3, "max_steps": 2}))
    saved = resume.load(options["prefix"])
    assert (saved.devices, saved.images) == (2, 6)
    name = "conv_1_batchnorm_moving_mean"
    with np.load(saved.path) as arrays:
        mean = (arrays[f"parameter/{name}@0"].astype(np.float64) + arrays[f"parameter/{name}@1"]) / 2
    with pytest.raises(
        InsightError, match=r"on 1 device a step takes 3 images, .* took 6 on 2; give --per-batch-size 6"
    ):
        train(TrainOptions(**{**options, "devices": "cpu", "per_batch_size": 3, "max_steps": 4}))
    one = TrainOptions(**{**options, "devices": "cpu", "per_batch_size": 6, "max_steps": 4})
    learner = Learner(prepare(one))
    learner.read(learner.setup.state)
    np.testing.assert_allclose(learner.model.statistics.mean()[name].asnumpy(), mean, rtol=1e-6)
    assert train(one).steps == 4
    assert "it ran on 2 devices, now on 1" in capsys.readouterr().out
