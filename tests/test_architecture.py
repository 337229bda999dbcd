"""Our own rules, checked in the source: imports between layers, unsafe calls, the length of files."""

from __future__ import annotations

import ast
import functools
import re
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from aasp.convert.published import PLAIN, last_part, number

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "aasp"
MODULES = sorted(SOURCE.rglob("*.py"))

# The ground, then layers 0 to 8, by name of subpackage or module. Each imports from itself and from layers below its
# own; those of one layer do not import each other, except on the ground.
LAYERS: list[set[str]] = [
    {"errors", "config", "fields", "files", "weights", "casting", "parts", "devices", "tracing", "cluster"}
    | {"formats", "progress", "waveforms"}
    | {"documents", "arrays", "shapes", "allocation", "markup"},
    {"audio", "features", "numerics"},
    {"stems", "datasets"},
    {"model", "training"},
    {"pretrain", "evaluate", "deploy", "convert"},
    {"index", "encoders"},
    {"report", "planning", "integrations", "hf"},
    {"compare", "explore"},
    {"aliasing", "serve"},
    {"cli"},
]
LAYER = {subpackage: layer for layer, subpackages in enumerate(LAYERS) for subpackage in subpackages}
ENTRY_FILES = {"__init__", "__main__"}  # the package's own two files: the public names, and `python -m aasp`

UNSAFE_MODULES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {"torch.load", "torch.save", "eval", "exec"}
UNSAFE_CALLS |= {"torch.serialization.safe_globals", "torch.serialization.add_safe_globals"}
# Others' checkpoints are read in one file, by these two calls as they stand: tensors, plain values, options, numbers.
ALLOWED = {
    "convert/published.py": {
        "torch.load(file, map_location='cpu', weights_only=True)",
        "torch.serialization.safe_globals(list(PLAIN))",
    }
}
MAX_FILE_LINES = 300
MAX_METHOD_LINES = 150


def subpackage_of(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def name(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere in a file, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def wrong_imports(path: Path, tree: ast.AST) -> list[str]:
    ours = subpackage_of(path)
    wrong = []
    for module in imported(tree):
        root, _, rest = module.partition(".")
        theirs = rest.partition(".")[0]
        if root == "aasp" and theirs != ours and theirs in LAYER and LAYER[theirs] >= max(LAYER[ours], 1):
            wrong.append(module)
    return wrong


def unsafe(tree: ast.AST, where: str = "") -> list[str]:
    found = [module for module in imported(tree) if module.partition(".")[0] in UNSAFE_MODULES]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    calls = [call for call in calls if ast.unparse(call) not in ALLOWED.get(where, set())]
    found += [ast.unparse(call.func) for call in calls if ast.unparse(call.func) in UNSAFE_CALLS]
    keywords = [ast.unparse(keyword) for call in calls for keyword in call.keywords]
    found += [word for word in keywords if word.startswith("allow_pickle=") and word != "allow_pickle=False"]
    return found


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_a_layer_imports_only_from_layers_below() -> None:
    inside = [path for path in MODULES if subpackage_of(path) not in ENTRY_FILES]
    assert {subpackage_of(path) for path in inside} <= LAYER.keys(), "a subpackage without a layer"
    wrong = {name(path): wrong_imports(path, parsed(path)) for path in inside}
    assert {file: imports for file, imports in wrong.items() if imports} == {}


def test_no_pickle_in_any_form() -> None:
    found = {name(path): unsafe(parsed(path), name(path)) for path in MODULES}
    assert {file: lines for file, lines in found.items() if lines} == {}


def test_a_file_is_one_idea() -> None:
    lines = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {file: count for file, count in lines.items() if count > MAX_FILE_LINES} == {}
    docstrings = {name(path): ast.get_docstring(parsed(path)) for path in MODULES if lines[name(path)]}
    assert [file for file, text in docstrings.items() if not text] == [], "a file says what it is"


def test_a_method_reads_like_its_paper() -> None:
    methods = [path for path in MODULES if path.parent.name == "methods"]
    long = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in methods}
    assert {file: lines for file, lines in long.items() if lines > MAX_METHOD_LINES} == {}


# Words that stand for a plainer one: what is "told" is said, given or predicted, a model does not "hear".
MANNERED = re.compile(
    r"\b(?:anew|reckon\w*|lacks|mend(?:s|ed|ing)?|whom|wants|footing|told|tells|goes on|gone on|has not (?=[;.,])"
    r"|spoil(?:s|t)?|by the toss of|one's own|unheard|by turns|signs? of life|thrice|somebody|whoever)\b",
    re.IGNORECASE,
)
MANNERED_PLACES = ("src", "docs", "benchmarks", "examples")
MANNERED_PLACES += ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")


def test_the_writing_is_plain() -> None:
    files = [path for place in MANNERED_PLACES for path in [ROOT / place, *(ROOT / place).rglob("*")] if path.is_file()]
    found = []
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        if path.suffix in {".py", ".md"} and "LICENSE" not in path.name:
            lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
            found += [f"{name}:{number}: {word[0]}" for number, line in lines for word in MANNERED.finditer(line)]
    assert found == []


def test_nothing_names_a_place_on_one_machine() -> None:
    place = re.compile(r"(?<![\w.~])/(?:home|root|work|Users|opt|mnt|media)/\w")
    suffixes = {".py", ".md", ".toml", ".txt", ".json", ".yaml", ".yml", ".cfg", ".ipynb"}
    folders = ["src", "tests", "docs", "examples", "benchmarks", ".ci"]
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.is_file()]
    read = [path for path in files if path.suffix in suffixes or path.name in {"Makefile", "run"}]
    named = [str(path.relative_to(ROOT)) for path in read if place.search(path.read_text(encoding="utf-8"))]
    assert named == []


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("from aasp.cli.main import main", ["aasp.cli.main.main"]),
        ("def f():\n    import aasp.pretrain.recipes", ["aasp.pretrain.recipes"]),
        ("from aasp.training import checkpoint", ["aasp.training.checkpoint"]),
        ("from aasp import load", ["aasp.load"]),
        ("from aasp.model.encoder import Encoder\nfrom aasp.stems.aape import AaPE\nimport numpy", []),
    ],
)
def test_the_rule_sees_a_wrong_import(source: str, wrong: list[str]) -> None:
    found = wrong_imports(SOURCE / "model" / "x.py", ast.parse(source))
    assert found == [module for module in wrong if module != "aasp.load"]


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from joblib import dump", "torch.load('x')", "numpy.load('x', allow_pickle=True)", "eval('1')"],
)
def test_the_rule_sees_an_unsafe_line(source: str) -> None:
    assert unsafe(ast.parse(source)) != []
    assert unsafe(ast.parse("model.eval()\nsafetensors.torch.load_file('x')")) == []


def test_the_rule_allows_one_file_its_two_calls_and_nothing_near_them() -> None:
    where, calls = next(iter(ALLOWED.items()))
    for call in calls:
        assert unsafe(ast.parse(call), where) == []
        assert unsafe(ast.parse(call), "training/checkpoint.py") != []
        assert call in (SOURCE / where).read_text(encoding="utf-8").replace('"', "'")
    # What the second one lets a file build, item by item; anything more has to be weighed here.
    numbers = [(number, "numpy.core.multiarray.scalar"), (number, "numpy._core.multiarray.scalar")]
    kinds = [np.dtypes.Float64DType, np.dtypes.Float32DType, np.dtypes.Int64DType]
    names = ("pathlib.PosixPath", "pathlib.WindowsPath", "pathlib._local.PosixPath", "pathlib._local.WindowsPath")
    paths = [(last_part, name) for name in names]  # a function of ours that returns one of its own texts
    assert list(PLAIN) == [Namespace, np.dtype, *kinds, *numbers, *paths]
    for near in ("torch.load(file, weights_only=False)", "torch.load(file)", "torch.serialization.safe_globals([F])"):
        assert unsafe(ast.parse(near), where) != []
