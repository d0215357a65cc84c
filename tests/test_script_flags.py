"""The flags of InsightFace's scripts: what each becomes, the notes, the errors, and the table in docs/migrating.md."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_faces import encode, face

from insight import cli
from insight.cli import build_parser, run_command
from insight.cli._scriptflags import ANY_OTHER, translated
from insight.cli._scripts import SCRIPTS
from insight.errors import InsightError

ROOT = Path(__file__).resolve().parent.parent
MEASURED = "--gpu (models are measured on the CPU)"
ON_CPU = "--gpu (models are evaluated on the CPU; --device gpu:N takes a GPU)"
FOR_LISTS = "(it is for making lists, which dir2lst does)"


def translate(command, line):
    own = build_parser(command)._option_string_actions
    words, notes = translated(line.split(), own, SCRIPTS.get(command))
    return " ".join(words), notes


@pytest.mark.parametrize(
    "command, line, ours, idle",
    [
        ("verification", "--gpu 0 --mode 0 --model a,1 --batch_size 8", "--model a,1 --batch-size 8", [ON_CPU]),
        ("verification", "--model=a_b,1 --nfolds=5 --batch_size=8", "--model=a_b,1 --nfolds=5 --batch-size=8", []),
        ("verification", "--model a,1 -- --gpu 0", "--model a,1 -- --gpu 0", []),
        ("embed", "--model a,1 --batch_size 8 --output_dtype x", "--model a,1 --batch-size 8 --output-dtype x", []),
        ("embed", "--model a,1 --no_such 8", "--model a,1 --no_such 8", []),
        ("face2rec", "--num-thread 4 --color 1 sets/a", "--num-thread 4 sets/a", []),
        ("face2rec", "--color -1 sets/a", "sets/a", ["--color (images are packed in colour)"]),
        ("face2rec", "--list False sets/a", "sets/a", []),
        (
            "face2rec",
            "sets/a --exts .jpg .png --train-ratio 0.9 --recursive True --pack-label True",
            "sets/a",
            [f"--exts, --train-ratio, --recursive {FOR_LISTS}, --pack-label (labels are always packed)"],
        ),
        ("face2rec", "--shuffle sets/a", "sets/a", [f"--shuffle {FOR_LISTS}"]),  # as im2rec has it, without a value
        ("dataset-merge", "--include a,b --test 1 --mode 1", "--include a,b --dry-run", ["--mode (the script"]),
        ("dataset-merge", "--include a,b --test 0", "--include a,b", []),
        ("dataset-merge", "--include a,b --test 1 --dry-run", "--include a,b --dry-run --dry-run", []),
        ("dataset-clean", "--output o --input s --mode 1 --threshold -1", "s --output o --threshold -1", []),
        ("rec2image", "--output o --include s", "s o", []),
        ("make-bin", "--data-dir d --image-size 112,96 --output f", "d/pairs.txt f --image-size 112,96", []),
        ("align-faces", "--input-dir a --output-dir b --name lfw", "a b", ["--name (faces are found"]),
        ("megaface", "--image_size 3,112,112 --algo x --gpu 1", "--algo x --image-size=112,112", [ON_CPU]),
        ("megaface", "--image-size 112,96", "--image-size=112,96", []),
        (
            "ijb",
            "--model-prefix p --gpu 0 --job x",
            "--model=p,1 --target=IJBC --meta=IJBC/meta --images=IJBC/loose_crop",
            [f"{ON_CPU}, --job (--json F writes the figures)"],
        ),
        (
            "ijb",
            "--model-prefix p --model-epoch 7 --target IJBB --meta m",
            "--target IJBB --meta m --model=p,7 --images=IJBB/loose_crop",
            [],
        ),
        (
            "ijb",
            "-m p,1 -d /data -s IJBB -b 64 -N",
            "--target=IJBB --batch-size=64 --protocol=1:N --model=p,1 --meta=/data/IJBB/meta "
            "--images=/data/IJBB/loose_crop",
            [],
        ),
        ("ijb", "--embeddings e.npz --target IJBC --meta m", "--embeddings e.npz --target IJBC --meta m", []),
        ("train", "--kvstore device --worker-id 0 --lr 0.1", "--lr 0.1", ["--kvstore, --worker-id (one process"]),
        ("train-softmax", "--ce-loss --version-multiplier 1.0 --lr 0.1", "--lr 0.1", ["--ce-loss (the loss is"]),
        ("train-triplet", "--noise-sgd 0 --lr 0.1", "--lr 0.1", []),
        (
            "benchmark",
            "--gpu 0 --det 2 --flip 0 --model a",
            "--model a",
            [f"{MEASURED}, --det, --flip (the network"],
        ),
    ],
)
def test_what_flags_become(command, line, ours, idle):
    words, notes = translate(command, line)
    assert words == ours
    assert len(notes) == len(idle)
    for note, start in zip(notes, idle):
        assert note.startswith(f"without effect here: {start}")


@pytest.mark.parametrize(
    "command, line, message",
    [
        (
            "verification",
            "--mode 1",
            "--mode 1: writes pictures of the wrong pairs there; here, `insight report`",
        ),
        ("verification", "--mode 2", "--mode 2: writes embeddings there; here, `insight embed --flip sum` does"),
        ("verification", "--mode 7", "--mode 7: want 0, or leave it out"),
        ("verification", "--gpu", "argument --gpu: expected one argument, as in InsightFace's script; see docs/migr"),
        ("face2rec", "--list True a", "--list True: makes a list there and packs nothing; `insight dir2lst DIR LST`"),
        ("face2rec", "--list a", "--list: makes a list"),
        ("face2rec", "--color 0 a", "--color 0: packs unaligned images in grey there, here in colour; convert them"),
        ("dataset-clean", "--mode 2 s", "--mode 2: keeps the largest cluster of DBSCAN there"),
        ("make-bin", "--det-prefix x a b", "--det-prefix x: images are packed as they are; `insight align-faces`"),
        (
            "ijb",
            "--model a --model-prefix b",
            "--model-prefix: means --model, which is given too; leave one of them out",
        ),
        ("ijb", "--model a --model_file b", "--model_file: means --model, which is given too; leave one of them out"),
        ("ijb", "--target IJBB -s IJBC", "--subset: means --target, which is given too; leave one of them out"),
        ("ijb", "--model-epoch 3", "--model-epoch 3: needs --model-prefix; or give --model PREFIX,3"),
        ("ijb", "-B", "--is_bunch: runs eight tests there; here, give the command again with each of --flip none,"),
        ("ijb", "-P a.npz b.npz", "--plot_only a.npz b.npz: draws earlier results there"),
        ("train-softmax", "--version-multiplier 0.5", "--version-multiplier 0.5: is for the network m1"),
        ("train-triplet", "--noise-sgd 0.1", "--noise-sgd 0.1: its optimizer fails there"),
    ],
)
def test_what_is_refused(command, line, message):
    with pytest.raises(InsightError) as info:
        translate(command, line)
    assert str(info.value).startswith(message)


def test_each_command_prints_one_note(capsys):
    build_parser("verification").parse_args("--gpu 0 --mode 0 --model a,1".split())
    assert capsys.readouterr() == (f"note: without effect here: {ON_CPU}\n", "")
    build_parser("train").parse_args(["--print-config", "--kvstore", "device"])  # stdout is the config.py
    assert capsys.readouterr() == (
        "",
        "note: without effect here: --kvstore (one process drives all devices of a machine)\n",
    )


def test_an_error_is_the_only_line(capsys):
    assert run_command("verification", ["--gpu", "0", "--mode", "1", "--model", "a,1"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1) and err.startswith("error: --mode 1: ")


@pytest.mark.parametrize("command", SCRIPTS)
def test_the_table_names_what_exists(command):
    """Flags are not our options, and what they become is one, or an argument, in the order in which they are typed."""
    parser = build_parser(command)
    arguments = [action.metavar for action in parser._actions if not action.option_strings]
    placed = [flag.to for flag in SCRIPTS[command].flags if flag.to.isupper()]
    assert placed == [name for name in arguments if name in placed]
    own = set(parser._option_string_actions)
    for flag in SCRIPTS[command].flags:
        if not flag.to.isupper() and flag.to:
            assert flag.to in own
        assert flag.to in flag.spellings or not own & set(flag.spellings), flag.names
        assert flag.here or flag.to or flag.values, flag.names


def test_help_has_our_options_only():
    assert "--gpu" not in build_parser("verification").format_help()


def test_face2rec2_is_face2rec(tmp_path):
    """A folder, or the beginning of paths, as the script takes it: each list is packed beside itself."""
    (tmp_path / "set").mkdir()
    (tmp_path / "set/property").write_text("9,112,112\n")
    for name in ("train", "val", "valid"):
        (tmp_path / f"{name}.jpg").write_bytes(encode(face(len(name), 112, 112)))
        (tmp_path / f"set/{name}.lst").write_text(f"1\t{name}.jpg\t0\n1\t{name}.jpg\t1\n")

    def face2rec2(*arguments):
        command = [sys.executable, ROOT / "tools/face2rec2.py", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)

    done = face2rec2("--num-thread", "1", "--color", "1", "--pack-label", "True", "set/val")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("note: without effect here: --pack-label (labels are always packed)\n")
    assert sorted(path.name for path in (tmp_path / "set").glob("*.rec")) == ["val.rec", "valid.rec"]
    assert (tmp_path / "set/property").read_text() == "9,112,112"  # which the script needs
    assert face2rec2("set", "--overwrite").returncode == 0
    assert (tmp_path / "set/train.idx").exists()
    assert face2rec2("--help").stdout.startswith("usage: face2rec2.py SOURCE [options]")
    assert face2rec2("--color", "0", "set").stderr.startswith("error: --color 0: ")


def test_a_command_of_a_package_has_no_flags_of_scripts(monkeypatch):
    class Module:
        HELP = "does something"
        __doc__ = None
        add_arguments = staticmethod(lambda parser: parser.add_argument("--a_b", help="as it is spelled"))

    monkeypatch.setattr(cli, "load", lambda name: Module)
    assert build_parser("shout").parse_args(["--a_b", "1"]).a_b == "1"


# docs/migrating.md


def cell(flag, joined):
    """What a flag is here, in a cell of the table."""
    parts = []
    if flag.to or flag.name in joined:
        parts = [flag.here or f"`{flag.to}`"]
    elif flag.here:
        parts = [f"no effect: {flag.here}"]
    silent = [f"`{value}`" for value, text in flag.values.items() if not text]
    parts += [f"{', '.join(silent)}: as here"] * bool(silent)
    for value, text in flag.values.items():
        named = "" if len(flag.values) == 1 else "others " if value == ANY_OTHER else f"`{value}` "
        parts += [f"{named}refused: {text}"] * bool(text)
    return "; ".join(parts)


def table():
    """A row for each kind of flag of each script."""
    rows = ["| script | flags | here |", "|---|---|---|"]
    for command in sorted(SCRIPTS):
        script, names = SCRIPTS[command], {}
        for flag in script.flags:
            names.setdefault(cell(flag, script.joined), []).extend(f"`{name}`" for name in flag.names.split())
        titles = [script.names, *[""] * len(names)]
        rows += [f"| {title} | {', '.join(flags)} | {here} |" for title, (here, flags) in zip(titles, names.items())]
    return "\n".join(rows) + "\n"


def test_the_documents_have_the_same_table():
    page = (ROOT / "docs/migrating.md").read_text(encoding="utf-8")
    assert table() in page, f"put this into docs/migrating.md:\n{table()}"
