"""The site: Sphinx over the Markdown of this folder. `make docs` builds it into build/site."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

DOCS = Path(__file__).parent
ROOT = DOCS.parent
FROM_ROOT = {"SECURITY.md": "security", "CONTRIBUTING.md": "contributing", "CHANGELOG.md": "changelog"}
sys.path.insert(0, str(ROOT / "src"))

import aasp  # noqa: E402
from aasp.pretrain import recipes  # noqa: E402

project = "aasp"
author = "the aasp contributors"
version = release = aasp.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["gallery", "generated/gallery/*.ipynb", "**sg_execution_times.rst"]
html_theme = "pydata_sphinx_theme"
html_title = "aasp"
html_theme_options = {"navbar_center": [], "show_toc_level": 2, "secondary_sidebar_items": ["page-toc"]}
html_sidebars = {"**": ["globaltoc.html"]}
html_static_path: list[str] = []
html_show_sourcelink = False

myst_enable_extensions = ["dollarmath"]
html_math_renderer = "mathml"  # which browsers draw themselves: pages ask nothing of the network
myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120

autodoc_typehints = "none"  # signatures show them already
autodoc_member_order = "bysource"
autosummary_generate = True
default_role = "code"  # docstrings are Markdown: `name` is code
suppress_warnings = ["config.cache"]  # the order of pictures is a function
linkcheck_ignore = [r"https?://"]

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "generated/gallery",
    "filename_pattern": r"/[a-z]",
    "abort_on_example_error": True,
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "remove_config_comments": True,
}


def recipes_page() -> str:
    """Every recipe with its summary, and every field of the one that most begin with."""
    rows = [f"| `{name}` | {recipes.get(name).summary} |" for name in recipes.names()]
    text = "`aasp recipes NAME` prints every field of one; `--set FIELD=VALUE` of `aasp pretrain` changes it."
    return "\n".join(["# Recipes", "", text, "", "| recipe | what it is |", "|---|---|", *rows, ""])


def listed(text: str) -> set[str]:
    """The pages that the toctrees of a page name."""
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return {line.strip() for tree in trees for line in tree.splitlines() if line.strip() and not line.startswith(":")}


def with_new_pages(app: Sphinx, name: str, source: list[str]) -> None:
    """List in the index what no toctree names, and under a page what lies in the folder of its name."""
    found = app.project.docnames
    pages = [page for page in found if page.startswith(f"{name}/")]
    if name == "index":
        known = listed(source[0]) | {"index"}
        pages = [page for page in found if page not in known and page.rpartition("/")[0] not in {*found, "generated"}]
        pages = [page for page in pages if not page.startswith("generated/")]
    if pages:
        caption = ":caption: More\n" if name == "index" else ":hidden:\n"
        source[0] += f"\n```{{toctree}}\n{caption}\n" + "\n".join(sorted(pages)) + "\n```\n"


def with_links_to_files(app: Sphinx, name: str, source: list[str]) -> None:
    """Links out of this folder: to a page that the site has too, or as the path in the repository."""

    def link(match: re.Match[str]) -> str:
        text, path, anchor = match[1], match[2], match[3] or ""
        target = (Path(app.env.doc2path(name)).parent / path).resolve()
        if target.is_relative_to(DOCS) or not target.is_relative_to(ROOT) or not target.exists():
            return match[0]
        inside = target.relative_to(ROOT).as_posix()
        if inside in FROM_ROOT:
            return f"[{text}](/generated/{FROM_ROOT[inside]}.md{anchor})"
        return text if text.strip("`") in inside else f"{text} (`{inside}`)"

    source[0] = re.sub(r"\[([^\]]+)\]\((\.\./[^)#\s]+)(#[^)\s]*)?\)", link, source[0])


def visit_math(writer: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    writer.body.append(tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block)))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    pages = {"recipes": recipes_page()}
    for file, page in FROM_ROOT.items():  # these lie at the root, where people look for them
        text = (ROOT / file).read_text(encoding="utf-8")
        pages[page] = re.sub(r"\]\((?=[\w.-]+[/.]\w)", "](../../", text)
    for page, text in pages.items():
        (DOCS / "generated").mkdir(exist_ok=True)
        (DOCS / "generated" / f"{page}.md").write_text(text, encoding="utf-8")
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.connect("source-read", with_new_pages)
    app.connect("source-read", with_links_to_files)
