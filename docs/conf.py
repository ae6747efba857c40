"""Sphinx's settings for the site. `bash .ci/site` builds it, with warnings as errors."""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from _site import links, written  # noqa: E402

import alliance  # noqa: E402

project = "alliance"
author = "the authors of alliance"
release = version = alliance.__version__
copyright = f"{author}; MIT licence"
language = "en"
smartquotes = False  # two hyphens are an option

extensions = [
    "myst_parser",
    "sphinx_design",
    "sphinx_copybutton",
    "sphinx.ext.autodoc",
    "numpydoc",
]
exclude_patterns = ["_build", "_site", "_generated/parts"]
nitpicky = True

# Pages are plain Markdown that GitHub shows as well; directives stand between colons.
myst_enable_extensions = ["colon_fence", "attrs_block"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a page that is put together may begin below the first level

autodoc_typehints = "none"  # the docstrings say them
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

copybutton_exclude = ".linenos, .gp, .go"

html_theme = "pydata_sphinx_theme"
html_title = "alliance"
html_static_path = ["_site/static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "alliance"},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 7,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
}
html_sidebars = {"start": [], "gallery": [], "validation": []}


def setup(app: Sphinx) -> dict[str, bool]:
    """Write what is generated before the pages are read, and lead links to where pages stand."""
    app.connect("config-inited", lambda app, config: written.write_all(HERE / "_generated"))
    app.connect("source-read", links.lead_home)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
