"""The site's notebooks and pictures run, its index names every page, and the files for newcomers are correct."""

from __future__ import annotations

import ast
import json
import re
import runpy
import tomllib
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import yaml

import aasp

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
PICTURES = sorted((DOCS / "gallery").glob("*.py"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_is_kept_without_outputs(notebook: Path) -> None:
    cells = [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    names: dict[str, object] = {}
    for cell in cells:
        exec(compile("".join(cell["source"]), notebook.name, "exec"), names)
    assert plt.get_fignums()
    plt.close("all")


@pytest.mark.parametrize("script", PICTURES, ids=lambda path: path.stem)
def test_a_picture_of_the_gallery_is_drawn(script: Path) -> None:
    runpy.run_path(str(script))
    (figure,) = (plt.figure(number) for number in plt.get_fignums())
    assert all(axes.has_data() for axes in figure.axes)
    plt.close("all")


def test_the_index_names_pages_that_exist_each_once() -> None:
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    named = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    assert len(named) == len(set(named))
    written = {
        path.relative_to(DOCS).with_suffix("").as_posix() for kind in ("*.md", "*.ipynb") for path in DOCS.rglob(kind)
    }
    assert {name for name in named if not name.startswith("generated/")} <= written


def test_every_object_of_the_api_page_exists_and_is_documented() -> None:
    entries = re.findall(r"auto(\w+):: (\S+)", (DOCS / "api.md").read_text(encoding="utf-8"))
    for _, entry in entries:
        module, _, name = entry.rpartition(".")
        found = getattr(__import__(module, fromlist=[name]), name)
        assert found.__doc__, entry
    public = {name for name in aasp.__all__ if name != "__version__"}
    assert public <= {entry.rpartition(".")[2] for _, entry in entries}


def test_the_citation_names_this_version_and_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == project["version"] == aasp.__version__
    assert citation["license"] == project["license"]
    assert citation["references"][0]["identifiers"][0]["value"] == "arXiv:2512.03637"


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda path: path.stem
)
def test_a_github_form_is_valid(form: Path) -> None:
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= content.keys()
    assert all(field["type"] in {"markdown", "textarea", "input", "dropdown"} for field in content["body"])
    identifiers = [field["id"] for field in content["body"] if field["type"] != "markdown"]
    assert len(identifiers) == len(set(identifiers))


def test_the_recipes_page_lists_every_recipe() -> None:
    source = (DOCS / "conf.py").read_text(encoding="utf-8")
    wanted = next(
        node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == "recipes_page"
    )
    from aasp.pretrain import recipes

    names: dict[str, object] = {"recipes": recipes}
    exec(compile(ast.Module([wanted], []), "conf.py", "exec"), names)
    page = names["recipes_page"]()  # type: ignore[operator]
    assert re.findall(r"^\| `(\w+)` \| \S", page, re.MULTILINE) == recipes.names()
