"""All names in messages, help texts and documents exist: commands, options, files, extras.

Python's string literals are read from syntax trees (f-strings with a hole for each expression) and comments from
tokens; documents and shell scripts are read as text. An unknown name is a fault, unless it is in one of the lists of
foreign names below.
"""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from pathlib import Path
from typing import NamedTuple

import pytest

from insight.cli import build_parser, command_names
from insight.cli._scripts import SCRIPTS

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = set(command_names())
HOLE = "\0"  # where an f-string puts a value

# Options of other programs, and of which.
FOREIGN_OPTIONS = {
    **dict.fromkeys(("--headless", "--hide-scrollbars", "--no-sandbox", "--screenshot", "--window-size"), "chromium"),
    "--dest": "wheel",
    "--dest-dir": "wheel",
    "--disable-gpu": "chromium",
    "--disable-pip-version-check": "pip",
    "--force-reinstall": "pip",
    "--format": "nvidia-smi",
    "--gpus": "docker run",
    "--logdir": "tensorboard",
    **dict.fromkeys(("--network-interfaces", "--ssh-port", "--start-timeout"), "horovodrun"),
    "--no-build-isolation": "pip",
    "--no-dashboard": "dask",
    "--no-cache-dir": "pip",
    "--no-deps": "pip",
    "--no-input": "pip",
    "--nthreads": "dask worker",
    "--nworkers": "dask worker",
    "--query-gpu": "nvidia-smi",
    "--strict": "mkdocs",
}
# Flags of InsightFace's scripts that ours translate, named in documents and in their table.
INSIGHTFACE_OPTIONS = {
    name.partition("_")[0]  # what OPTION finds of it
    for script in SCRIPTS.values()
    for flag in script.flags
    for name in flag.spellings
}
TABLE = "insight/cli/_scripts.py"
# Names that look like our commands.
FOREIGN_COMMANDS = {
    "align-dlib": "OpenFace's script",
    "align-items": "a property in CSS",
    "face2rec2": "InsightFace's script",
    "im2rec": "MXNet's script",
    "model-log": "TensorBoard's folder, <prefix>-log",
    "mxnet-cu112": "a package",
    "mxnet2ncnn": "ncnn's program",
    "rec2shufrec": "InsightFace's script",
    "softmax-type": "an adjective",
}
# Files of other projects, in folders with names of ours.
FOREIGN_FILES = {
    "docs/developer-guide/param-and-model-file-structure.md": "ncnn",
    "tools/im2rec.py": "MXNet",
}


class Text(NamedTuple):
    """A piece of text of the project. ``what``: ``string``, ``comment``, ``document`` or ``script``."""

    path: Path
    line: int
    text: str
    what: str = "string"

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {' '.join(self.text.split())[:160]}"


# What is read


def python_files():
    folders = ("insight", "datasets", "tools", "deploy", "benchmarks", "examples", "docs")
    return sorted([ROOT / "setup.py", *(p for folder in folders for p in (ROOT / folder).rglob("*.py"))])


def texts_of_python(path: Path, source: str):
    tree = ast.parse(source)
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else HOLE for part in node.values]
            yield Text(path, node.lineno, "".join(parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield Text(path, node.lineno, node.value)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Text(path, token.start[0], token.string, "comment")


@functools.lru_cache(None)
def all_texts():
    found = []
    for path in python_files():
        found += texts_of_python(path, path.read_text(encoding="utf-8"))
    documents = [p for folder in ("docs", "datasets") for p in (ROOT / folder).rglob("*.md")]
    scripts = [path for kind in ("recipes/**/*.sh", "recipes/**/*.env", "examples/*.sh") for path in ROOT.glob(kind)]
    for paths, what in (([*ROOT.glob("*.md"), *documents], "document"), (scripts, "script")):
        for path in sorted(paths):
            lines = path.read_text(encoding="utf-8").splitlines()
            found += [Text(path, number, line, what) for number, line in enumerate(lines, 1)]
    return tuple(found)


# Which commands can print a module's messages


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.lru_cache(None)
def imports():
    """Module -> modules of the project that it imports, at the top, in a function, or through a registry."""
    paths = {module_of(path): path for path in (ROOT / "insight").rglob("*.py")}
    graph = {}
    for module, path in paths.items():
        package = module.split(".") if path.stem == "__init__" else module.split(".")[:-1]
        source, names = path.read_text(encoding="utf-8"), set()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else []
                base = ".".join([*base, *([node.module] if node.module else [])])
                names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        if path.stem == "__init__" and " = Registry(" in source:
            names |= {name for name in paths if name.startswith(module + ".")}
        graph[module] = {name for name in names if name in paths}
        graph[module] |= {".".join(name.split(".")[:n]) for name in graph[module] for n in (2, 3)} & set(paths)
    return graph


@functools.lru_cache(None)
def printers():
    """Module -> the commands that can print its messages: those that import it, directly or not."""
    found = {}
    for command in COMMANDS:
        waiting, seen = [f"insight.cli.{command.replace('-', '_')}"], set()
        while waiting:
            module = waiting.pop()
            if module not in seen:
                seen.add(module)
                waiting += imports()[module]
        for module in seen:
            found.setdefault(module, set()).add(command)
    return found


@functools.lru_cache(None)
def options_of(command: str):
    return {option for action in build_parser(command)._actions for option in action.option_strings}


@functools.lru_cache(None)
def options_of_scripts():
    """Script -> its own options: those of argparse, of components, or of a shell's ``case``."""
    found = {}
    for path in (path for folder in ("benchmarks", "deploy", "examples") for path in (ROOT / folder).glob("*.py")):
        found[path] = set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', path.read_text(encoding="utf-8")))
    for path in (ROOT / "examples").glob("*/*.py"):  # a package's components
        names = re.findall(r'Option\(\s*"(\w+)"', path.read_text(encoding="utf-8"))
        found[path] = {"--" + name.replace("_", "-") for name in names}
    for path in (ROOT / "recipes").rglob("*.sh"):
        found[path] = set(re.findall(r"^\s*(--[a-z-]+)(?:\s*\|\s*[-a-z]+)*\)", path.read_text(encoding="utf-8"), re.M))
    return found


def known_options(text: Text):
    """Options that a text may name: those of the commands that can print it, or of the script it is in."""
    if text.what != "document" and ROOT / "recipes" not in text.path.parents:
        own = options_of_scripts().get(text.path)
        commands = printers().get(module_of(text.path), COMMANDS) if ROOT / "insight" in text.path.parents else COMMANDS
        more = INSIGHTFACE_OPTIONS if text.path == ROOT / TABLE else ()
        return set().union(own or (), more, *(options_of(command) for command in commands))
    more = INSIGHTFACE_OPTIONS if text.what == "document" else set()
    return set().union(more, *options_of_scripts().values(), *(options_of(command) for command in COMMANDS))


# What is looked for


COMMAND_LIKE = re.compile(r"(?<![\w./@-])(?:[a-z]+-[a-z0-9]+|[a-z]{2,}2[a-z]{2,}[0-9]?)(?![\w-]|\.\w|/)")
HEADS = {name.split("-")[0] for name in COMMANDS if "-" in name} - {"made"}
TAILS = {name.split("-")[-1] for name in COMMANDS if "-" in name}
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
FILES = re.compile(
    r"(?<![\w./<>*-])((?:docs|recipes|benchmarks|tools|deploy|datasets|tests|insight)/[\w./-]+\.[a-z]+)\b"
)
EXTRAS = re.compile(r"(?:\.|\binsight)\[([a-z0-9_, ]+)\]|extras? `([a-z0-9]+)`")


def wrong_commands(text: Text):
    """``insight NAME`` with an unknown NAME, and words that look like commands but are not."""
    plain = r"|(?:\A|^ {2,}|[:(] ?|\$ )insight ([a-z][a-z0-9-]*)" * (ROOT / "benchmarks" not in text.path.parents)
    for groups in re.finditer("`insight ([a-z][a-z0-9-]*)" + plain, text.text, re.M):
        name = next(filter(None, groups.groups()))
        if name not in COMMANDS:
            yield f"no command {name}"
    for name in COMMAND_LIKE.findall(text.text) if text.what in ("string", "document") else ():
        head, _, tail = name.partition("-")
        if ("2" in head or head in HEADS or tail in TAILS) and name not in COMMANDS and name not in FOREIGN_COMMANDS:
            yield f"{name} is no command"


def wrong_options(text: Text):
    """Options that none of the possible commands has; after a command's name, those that this command does not have."""
    if "var(--" in text.text:  # style sheets
        return
    for match in OPTION.finditer(text.text):
        option, before = match.group(), text.text[: match.start()]
        if option in FOREIGN_OPTIONS or option in ("--help", "--version"):
            continue
        script = re.search(r"(?<![\w/])([a-z]+/\w+\.(?:py|sh)) (?:[^;,:()|`.]* )?$", before)
        if script and option in options_of_scripts().get(ROOT / script.group(1), ()):
            continue
        named = named_command(before)
        if option not in (options_of(named) if named else known_options(text)):
            yield f"{option} is no option of {named or 'what can print it'}"


def named_command(before: str):
    """The command that an option belongs to, by the text before it; values in backquotes are ``remedies``."""
    clause = re.split(r"[;,:()|\n]|\. ", before)[-1]
    if re.search(rf"`(?:{HOLE}|{{[a-z]+}}) [^`]*$", clause):
        return "dataset-repair"
    words = [w for w in re.findall(r"[a-z0-9-]+", clause) if w in COMMANDS and ("-" in w or "2" in w)]
    words = words or [w for w in re.findall(r"insight ([a-z-]+)", clause) if w in COMMANDS]
    return words[-1] if words else None


def wrong_files(text: Text):
    for name in FILES.findall(text.text):
        if not (ROOT / name).exists() and name not in FOREIGN_FILES:
            yield f"no file {name}"


def wrong_extras(text: Text):
    known = setup_extras()
    for listed, single in EXTRAS.findall(text.text):
        for name in re.findall(r"[a-z0-9_]+", listed or single):
            if name not in known:
                yield f"no extra {name}"


@functools.lru_cache(None)
def setup_extras():
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    (extras,) = [word.value for call in calls for word in call.keywords if word.arg == "extras_require"]
    return {key.value for key in extras.keys}


CHECKS = [wrong_commands, wrong_options, wrong_files, wrong_extras]


@pytest.mark.parametrize("check", CHECKS)
def test_names_exist(check):
    assert [f"{text}: {fault}" for text in all_texts() for fault in check(text)] == []


def faults(source, path="insight/train/guards.py", what=None):  # whose messages only commands that train print
    path = ROOT / path
    texts = texts_of_python(path, source) if what is None else [Text(path, 1, source, what)]
    return [fault for text in texts for check in CHECKS for fault in check(text)]


@pytest.mark.parametrize(
    "source, fault",
    [
        ('"align them first (align-all)"', "align-all is no command"),
        ('f"{path}: run rec2bin"', "rec2bin is no command"),
        ('f"{path}: bad; `insight dataset-mend {path}` helps"', "no command dataset-mend"),
        ('"see: insight docter"', "no command docter"),
        ('f"{path}: bad; give --no-such-option {value}"', "--no-such-option is no option of what can print it"),
        ('f"--{name}: bad; lower --batch-size"', "--batch-size is no option of what can print it"),  # of others
        ('f"pack it with face2rec --min-images {n}"', "--min-images is no option of face2rec"),  # of dir2lst
        ('f"{a} is bad, " "take --lr-step"', "--lr-step is no option of what can print it"),  # --lr-steps is one
        ('f"`{remedies.into_new(path)} --shallow` helps"', "--shallow is no option of dataset-repair"),
        ('f"`{renew} --shallow` helps"', "--shallow is no option of dataset-repair"),
        ('"see docs/repairing.md"', "no file docs/repairing.md"),
        ('"run recipes/all.sh"', "no file recipes/all.sh"),
        ("\"pip install -e '.[deploy,gpu]'\"", "no extra gpu"),
        ("x = 1  # pip install '.[onnx]'", "no extra onnx"),
        ("x = 1  # what --lr-step does", "--lr-step is no option of what can print it"),
    ],
)
def test_a_wrong_name_is_found(source, fault):
    assert fault in faults(source)


@pytest.mark.parametrize(
    "line, fault",
    [
        ("Write them with `rec2bin`.", "rec2bin is no command"),
        ("    insight dataset-mend work/set", "no command dataset-mend"),
        ("`dataset-merge --deep` does not exist", "--deep is no option of dataset-merge"),
        ("`--frobnicate`", "--frobnicate is no option of what can print it"),
        ("[all](docs/none.md)", "no file docs/none.md"),
        ("needs the extra `pictures`", "no extra pictures"),
    ],
)
def test_a_wrong_name_in_a_document_is_found(line, fault):
    assert fault in faults(line, "docs/data.md", "document")


def test_existing_names_are_not_faults():
    assert (
        faults('f"{path}: `insight dataset-repair {path} --output {out}` (docs/data.md); lower --per-batch-size"') == []
    )
    assert faults("\"pip install --no-deps pnnx, or pip install '.[ncnn]'\"") == []
    assert faults("see `dataset-merge --param1 0`, face2rec2 and im2rec", "docs/data.md", "document") == []


def test_all_kinds_of_text_are_read():
    names = {(str(text.path.relative_to(ROOT)), text.what) for text in all_texts()}
    for expected in [
        ("insight/formats/faceset.py", "string"),
        ("insight/check/rules.py", "string"),
        ("setup.py", "comment"),
        ("tools/face2rec.py", "string"),
        ("README.md", "document"),
        ("docs/data.md", "document"),
        ("recipes/stage.sh", "script"),
    ]:
        assert expected in names


def test_messages_are_traced_to_the_commands_that_print_them():
    assert printers()["insight.train.guards"] == {"train", "train-softmax", "train-triplet"}
    assert {"dataset-merge", "rec2image", "train-softmax", "embed"} <= printers()["insight.formats.faceset"]
    assert "train-softmax" in printers()["insight.margins.arcface"]  # which only a registry imports
    assert set().union(*printers().values()) == COMMANDS
