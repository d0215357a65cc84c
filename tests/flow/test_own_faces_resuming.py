"""recipes/own_faces with a stand-in for its commands: what is skipped, resumed, made again and refused."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from interrupts import default_sigint
from own_faces_runs import ROOT, STAGES, commands, environment, run

# Stands in for insight: notes its command line, prints the figures that the stages read, and makes the files that they
# need. A command that contains HANG waits before that, one that contains FAIL fails.
STAND_IN = """#!/bin/bash
echo "$*" >>"$CALLS"
value() { local name=$1; shift; while (($#)); do [[ $1 != "$name" ]] || echo "$2"; shift; done; }
output=$(value --output "$@") prefix=$(value --prefix "$@")
made() { mkdir -p "$(dirname "$1")" && echo "$2" >"$1"; }
[[ -z ${FAIL:-} || "$*" != *$FAIL* ]] || { echo "error: no luck" >&2; exit 1; }
if [[ -n ${HANG:-} && "$*" == *$HANG* ]]; then touch "$CALLS.hangs"; exec sleep 60; fi
case $1 in
    align-faces)
        made "$3/faces.csv" "$(ls "$2")"
        echo "$3: 9 faces of 9 photos in 3 folders"
        echo "  9 faces found: 9 kept, 2 too small" ;;
    dir2lst) made "$3" train && made "$(value --val-output "$@")" held-out && echo "$3: 40 images of 10 identities" ;;
    make-bin) made "$3" bin && echo "$3: 9 pairs, 5 of one person and 4 of two" ;;
    verification) echo "[own]Accuracy-Flip: 0.90000+-0.1" ;;
    face2rec | dataset-clean | dataset-merge)
        made "$output/train.rec" "$*"
        echo "$output/train.rec: 40 images + ${PEOPLE:-10} identity records + 1" ;;
    train-*)
        made "$prefix-0002.params" "$2"
        made "$prefix-log.jsonl" '{"target": "own", "step": 300, "accuracy": 0.95, "std": 0.1}' ;;
    report) made "$output" page && echo "own: before, with m/y1,40, accuracy 0.9; after 0.95; better" ;;
esac
"""


@pytest.fixture
def project(tmp_path):
    """A copy of the recipes whose environment has the stand-in; and photos."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    (tmp_path / "recipes/environment.sh").write_text(f"make_environment() {{ PATH={tmp_path}/bin:$PATH; }}\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/insight").write_text(STAND_IN)
    (tmp_path / "bin/insight").chmod(0o755)
    (tmp_path / "photos/ann").mkdir(parents=True)
    for name in ("y1-symbol.json", "y1-0040.params"):
        (tmp_path / name).write_text(name)
    return tmp_path


def stood_in(project, *arguments, script="all", **settings):
    """(the finished process, command lines that the stand-in was given)."""
    path = project / "calls"
    path.unlink(missing_ok=True)
    done = run("photos", "--pretrained", "y1,40", *arguments, script=script, root=project, CALLS=path, **settings)
    return done, path.read_text().splitlines() if path.exists() else []


def made(project):
    """{path: text} of all files of a run but the lock."""
    work = project / "runs/own_faces"
    return {str(path.relative_to(work)): path.read_text() for path in work.rglob("*") if path.is_file()}


def test_a_finished_run_is_skipped(project):
    done, calls = stood_in(project)
    assert done.returncode == 0, done.stderr
    words = [line.split()[0] for line in calls]
    assert words == [words[0] for stage in commands(done.stdout).values() for words in stage]
    (line,) = [line for line in calls if line.startswith("train-triplet")]
    assert " --per-batch-size 25 " in line  # five images of each of half of the 10 people
    assert " --pretrained runs/own_faces/60_finetune/model,2 " in line
    files = made(project)
    again, more = stood_in(project)
    assert again.returncode == 0 and [line.split()[0] for line in more] == ["align-faces"]
    assert again.stdout.count("done already") == len(STAGES) - 1
    assert made(project) == files
    for text in ("9 faces of 9 photos in 3 folders", "rejected faces: 2 too small", "0.95 at step 300", "better"):
        assert text in done.stdout and text in again.stdout


def test_killed_at_each_command(project):
    """SIGKILL of everything, in each command in turn: the stage goes on there, and all ends the same."""
    done, calls = stood_in(project)
    files = made(project)
    shutil.rmtree(project / "runs")
    for stage, shown in commands(done.stdout).items():
        for killed in range(len(shown)):
            process, path = hanging(project, " ".join(calls[killed].split()[:5]), stage)
            kill_session(process.pid)
            process.wait(timeout=20)
            assert (
                path.read_text().splitlines() == calls[max(killed - 1, 0) : killed + 1]
            )  # the last one again, then this
        last, again = stood_in(project, script=stage)
        assert last.returncode == 0 and again == calls[len(shown) - 1 : len(shown)]
        calls = calls[len(shown) :]
    assert made(project) == files


def test_one_command_at_a_time(project):
    """A command that outlives a killed script keeps others out of its folder."""
    process, _ = hanging(project, "align-faces", script="10_align")
    try:
        process.kill()  # the script alone
        process.wait(timeout=20)
        done, calls = stood_in(project)
        assert (done.returncode, calls) == (2, [])
        assert done.stderr.startswith("error: runs/own_faces: another run, or the last command of one that was")
    finally:
        kill_session(process.pid)
    assert stood_in(project)[0].returncode == 0


def test_a_killed_command_has_moments_to_end(project):
    folder = project / "runs/own_faces"
    folder.mkdir(parents=True)
    holds_the_lock = ["flock", str(folder / "lock"), "sh", "-c", "echo locked; sleep 1"]
    with subprocess.Popen(holds_the_lock, stdout=subprocess.PIPE) as dying:
        dying.stdout.readline()
        assert stood_in(project)[0].returncode == 0 and dying.poll() == 0


def test_ctrl_c(project):
    process, _ = hanging(project, "dataset-clean", stderr=subprocess.PIPE)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and "stopped; to resume: " in errors
    assert "GPUS='' ./recipes/own_faces/40_clean.sh photos --pretrained y1\\,40 --output runs/own_faces" in errors
    done, calls = stood_in(project)
    assert done.returncode == 0 and [line.split()[0] for line in calls[:2]] == ["align-faces", "dataset-clean"]


def test_a_failed_command_ends_the_run_with_its_status(project):
    failed, calls = stood_in(project, FAIL="dataset-check")
    assert failed.returncode == 1 and calls[-1].startswith("dataset-check")
    assert "error: no luck" in failed.stdout
    assert "30_check failed; its output is in runs/own_faces/30_check/log/check.txt; when the cause" in failed.stderr
    done, calls = stood_in(project)
    assert done.returncode == 0 and calls[1].startswith("dataset-check")


def test_other_settings_are_refused_or_make_the_stages_again(project):
    stood_in(project)
    files = made(project)
    refused, calls = stood_in(project, CLEAN_OPTIONS="--threshold 0.2")
    assert refused.returncode == 2 and len(calls) == 1 and made(project) == files
    assert (
        "error: runs/own_faces/40_clean: its step clean was started with other settings; --overwrite" in refused.stderr
    )
    again, calls = stood_in(project, "--overwrite", CLEAN_OPTIONS="--threshold 0.2")
    assert again.returncode == 0, again.stderr
    assert [line.split()[0] for line in calls[:3]] == ["align-faces", "dataset-clean", "dataset-merge"]
    assert calls[-1].startswith("benchmark") and "--threshold 0.2" in made(project)["40_clean/set/train.rec"]
    assert again.stdout.count("done already") == 2  # 20_pack, 30_check
    assert stood_in(project, CLEAN_OPTIONS="--threshold 0.2")[1] == [calls[0].replace(" --overwrite", "")]


def test_photos_that_were_added_are_noticed(project):
    stood_in(project)
    (project / "photos/bob").mkdir()
    refused, calls = stood_in(project)
    assert refused.returncode == 2 and len(calls) == 1
    reason = "it was made from other results of the stages before it"
    assert refused.stderr.splitlines()[-1].startswith(f"error: runs/own_faces/20_pack: {reason}; --overwrite makes")
    assert stood_in(project, "--overwrite")[0].returncode == 0


def test_a_checkpoint_that_was_trained_again_is_noticed(project):
    """CKPT=3 keeps its number."""
    stood_in(project)
    (project / "y1-0040.params").write_text("trained again")
    refused, calls = stood_in(project)
    assert refused.returncode == 2 and len(calls) == 1
    assert "20_pack: it was made from other results of the stages before it" in refused.stderr
    assert stood_in(project, "--overwrite")[0].returncode == 0


def test_a_public_set_or_a_test_set_that_was_replaced_is_noticed(project):
    (project / "emore").mkdir()
    for file in ("train.rec", "lfw.bin", "cfp.bin"):
        (project / "emore" / file).write_text(file)
    for public in ("emore", "emore/train", "emore/train.rec"):
        settings = {"PUBLIC": public, "TESTS": "emore/lfw.bin"}
        assert stood_in(project, "--overwrite", **settings)[0].returncode == 0
        assert len(stood_in(project, **settings)[1]) == 1
        for file in ("train.rec", "lfw.bin"):
            (project / "emore" / file).write_text(f"another {file} of {public}")
            refused, calls = stood_in(project, **settings)
            assert (refused.returncode, len(calls)) == (2, 1)
            assert "50_merge: its step merge was started with other settings or files; --over" in refused.stderr
            again, calls = stood_in(project, "--overwrite", **settings)
            assert again.returncode == 0 and calls[1].startswith("dataset-merge")


def test_a_preset_beside_the_photos(project):
    """Its paths stay those of the folder where the run was started, also in a stage that is made again."""
    other = project / "other"
    shutil.copytree(project / "photos", other / "photos")
    (other / "lfw.bin").write_text("bin")
    (other / "own.env").write_text("TESTS=lfw.bin\nPUBLIC=.\n")
    for more in ([], ["--overwrite"]):
        path = project / "calls"
        path.unlink(missing_ok=True)
        words = ["photos", "--pretrained", "../y1,40", "--env", "own.env", *more]
        done = run(*words, root=project, folder=other, CALLS=path)
        assert done.returncode == 0, done.stderr
        merges = [line for line in path.read_text().splitlines() if line.startswith("dataset-merge")]
        assert [f"{'other/lfw.bin'} " in line and ",other/. " in line for line in merges] == [True]
        (other / "own.env").write_text("TESTS=lfw.bin\nPUBLIC=.\nSAME_COSINE=0.4\n")


def test_a_test_set_that_cannot_be_copied_ends_the_stage(project):
    (project / "bin/cp").write_text("#!/bin/sh\nexit 1\n")
    (project / "bin/cp").chmod(0o755)
    failed, calls = stood_in(project)
    assert failed.returncode == 2 and "own.bin: could not be copied into runs/own_faces/50_merge" in failed.stderr
    assert calls[-1].startswith("dataset-check")


def test_one_person_who_is_left_ends_the_merge(project):
    """Not the training, whose message cannot say which setting leaves people out."""
    failed, calls = stood_in(project, PEOPLE=1, TEST_COSINE=0.4)
    assert failed.returncode == 2 and calls[-1].startswith("dataset-merge")
    assert "50_merge/set: has 1 person, too few to train on; see merge.csv there, then raise TEST_COSINE (0.4)" in (
        failed.stderr
    )


def test_aligned_faces(project):
    """They take the place of the first stage; a face that was added is noticed."""
    (project / "aligned/ann").mkdir(parents=True)
    (project / "aligned/ann/1.jpg").write_text("face")

    def aligned(*more):
        path = project / "calls"
        path.unlink(missing_ok=True)
        done = run("--aligned", "aligned", "--pretrained", "y1,40", *more, root=project, CALLS=path)
        return done, path.read_text().splitlines() if path.exists() else []

    done, calls = aligned()
    assert done.returncode == 0, done.stderr
    assert calls[0].startswith("dir2lst aligned runs/own_faces/20_pack/train.lst ")
    assert "found     1 folders of aligned faces\n" in done.stdout
    assert aligned()[1] == []
    (project / "aligned/ann/2.jpg").write_text("face")
    refused, calls = aligned()
    assert refused.returncode == 2 and calls == [] and "20_pack: it was made from other results" in refused.stderr
    done, calls = aligned("--overwrite")
    assert done.returncode == 0 and calls[0].startswith("dir2lst")


def test_a_stage_needs_the_one_before(project):
    failed, calls = stood_in(project, script="60_finetune", EPOCHS=3)
    assert failed.returncode == 2 and calls == []
    call = "EPOCHS=3 GPUS='' ./recipes/own_faces/50_merge.sh photos --pretrained y1\\,40 --output runs/own_faces"
    assert failed.stderr == f"error: runs/own_faces/50_merge: that stage has not finished; run {call}\n"


def hanging(project, command, script="all", stderr=subprocess.DEVNULL):
    """(a run in a session of its own, in which the stand-in for a command waits; the file of its calls)."""
    path = project / "hanging"
    path.unlink(missing_ok=True)
    process = subprocess.Popen(
        [str(project / f"recipes/own_faces/{script}.sh"), "photos", "--pretrained", "y1,40"],
        env=environment({"CALLS": path, "HANG": command}),
        cwd=project,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        text=True,
        start_new_session=True,
        preexec_fn=default_sigint,
    )
    wait_for(project / "hanging.hangs")
    (project / "hanging.hangs").unlink()
    return process, path


def wait_for(path):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} was never made"
        time.sleep(0.01)


def kill_session(session):
    """SIGKILL every process of a session, as a machine that goes down does."""
    for _ in range(3):
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] != "Z":
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:  # ended meanwhile
                pass
