"""How the documentation is built: `make docs` writes docs/_build. Nothing is fetched while it is built or read."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hydromae import __version__

sys.path.insert(0, str(Path(__file__).parent))
from _commands import write_help

# The gallery runs in this process and in processes of it; colours of the terminal would end up in its output.
os.environ["NO_COLOR"] = "1"

project = "hydromae"
author = "hydromae developers"
copyright = "hydromae developers, Apache-2.0"
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_gallery.gen_gallery"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "gallery/*.md5", "gallery/*.ipynb", "gallery/*.zip"]
nitpicky = False

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

html_theme = "furo"
html_title = "hydromae"
html_static_path: list[str] = []
html_show_sphinx = False
html_copy_source = False

default_role = "literal"  # docstrings name things in single backticks
autodoc_typehints = "none"  # shapes and units stand in the docstrings
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"example_\w+\.py$",
    "ignore_pattern": r"three_questions\.py$",  # it draws the picture of the README from what `make demo` leaves
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,  # its page would fetch scripts from a CDN
    "show_signature": False,
    "abort_on_example_error": True,
    "reference_url": {"hydromae": None},
}


write_help()
