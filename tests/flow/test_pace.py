"""The quickstart's choice of a training, on simulated machines."""

import os
import re
import subprocess
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "recipes"
# Stands in for insight: prints an estimate at RATE images/s, or at ALONE with fewer threads.
SCRIPT = """
set -euo pipefail
source words.sh
source pace.sh
dry_run=
TRAINING=${TRAINING:-}
insight() {
    echo "$*" >>"$WORK/calls"
    [[ -z ${BROKEN:-} ]] || { echo "error: the set is gone" >&2; return 2; }
    local rate=$RATE
    [[ -z ${OMP_NUM_THREADS:-} ]] || rate=${ALONE:-$RATE}
    echo "1 identity; y1"
    [[ -z ${NOTE:-} ]] || echo "note: $NOTE"
    awk -v rate="$rate" -v steps="$SOFTMAX_STEPS" -v batch="$BATCH_SIZE" 'BEGIN {
        seconds = steps * batch / rate
        printf "estimate: %.1f images/s; %d steps in 0:01:00, 2 verifications in 0:00:10; 0:01:10, %.0f s\\n",
            rate, steps, seconds + 2 * 160 / rate
    }'
}
sizes "${TRAINING:-long}"
SECONDS=30
mkdir -p "$WORK/log"
choose_training "$WORK" train-softmax --data-dir set
echo "$TRAINING $BATCH_SIZE $SOFTMAX_STEPS $ARCFACE_STEPS ${OMP_NUM_THREADS:-unset} $ends"
"""
BUSY = "training gets 40% of the processor time that its 2 threads can use: …; stop them, or run with OMP_NUM_THREADS=1"
LONG = ["long", "64", "160", "240"]


@pytest.fixture
def choose(tmp_path):
    def run(**settings):
        environment = {**os.environ, "MINUTES": "10", "WORK": str(tmp_path), "RATE": "100", **settings}
        if "OMP_NUM_THREADS" not in settings:
            environment.pop("OMP_NUM_THREADS", None)
        command = ["bash", "-c", SCRIPT]
        done = subprocess.run(command, cwd=RECIPES, env=environment, capture_output=True, text=True, check=False)
        return done, (done.stdout.splitlines() or [""])[-1].split()

    return run


def test_a_fast_machine_takes_the_long_training(choose):
    done, words = choose()
    assert words[:5] == [*LONG, "unset"], done.stderr
    assert 30 + 256 < int(words[5]) < 360  # so many images at 100 a second, and the rest
    assert "100.0 images/s: 160 + 240 steps of 64 images; finished after about 5:" in done.stdout


def test_a_slow_one_takes_the_short_training(choose, tmp_path):
    done, words = choose(RATE="27")
    assert words[0] == "short", done.stderr
    images = int(words[1]) * (int(words[2]) + int(words[3]))
    assert images / 27 < int(words[5]) < 10 * 60
    assert re.search(
        r"27\.0 images/s: the long training would finish after 1[78]:\d\d; the short one is used", done.stdout
    )
    assert (tmp_path / "training.txt").read_text() == " ".join(words[:4]) + "\n"


@pytest.mark.parametrize("settings", [{"MINUTES": "30"}, {"TRAINING": "long"}])
def test_the_long_training_can_be_chosen(choose, settings):
    assert choose(RATE="27", **settings)[1][:4] == LONG
    assert choose(TRAINING="short")[1][0] == "short"


def test_given_sizes_are_kept(choose):
    assert choose(RATE="27", SOFTMAX_STEPS="2000")[1][:4] == ["long", "64", "2000", "240"]
    assert choose(RATE="27", TRAINING="short", BATCH_SIZE="16")[1][:2] == ["short", "16"]


def test_fewer_threads_are_tried_beside_other_processes(choose, tmp_path):
    done, words = choose(RATE="5", ALONE="60", NOTE=BUSY)
    assert words[:5] == [*LONG, "1"], done.stderr
    assert "    training gets 40% of" in done.stdout
    assert len((tmp_path / "calls").read_text().splitlines()) == 2
    assert choose(RATE="60", ALONE="50", NOTE=BUSY)[1][4] == "unset"  # they do not pay
    assert choose(RATE="5", OMP_NUM_THREADS="2", NOTE=BUSY)[1][4] == "2"  # yours


def test_a_failure_is_the_command_s_own(choose):
    done, _ = choose(BROKEN="yes")
    assert done.returncode == 2 and done.stderr == "error: the set is gone\n"


def test_an_unknown_training_is_an_error(choose):
    done, _ = choose(TRAINING="medium")
    assert (done.returncode, done.stderr) == (2, "error: TRAINING=medium: must be long or short\n")


def test_a_later_stage_keeps_the_choice(tmp_path):
    (tmp_path / "training.txt").write_text("short 32 80 240\n")
    script = (
        "set -euo pipefail; source words.sh; source pace.sh; sizes long; chosen_training $0; echo $TRAINING $BATCH_SIZE"
    )
    for more, expected in (({}, "short 32"), ({"BATCH_SIZE": "8"}, "short 8")):
        command = ["bash", "-c", f"{script} $SOFTMAX_STEPS $ARCFACE_STEPS", str(tmp_path)]
        done = subprocess.run(
            command, cwd=RECIPES, env={**os.environ, **more}, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == [*expected.split(), "80", "240"]
