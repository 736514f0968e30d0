"""Build the documentation site from this repository's Markdown files and its docstrings.

``make docs`` runs Sphinx from the repository's root, without network. Every warning is an error,
broken links included.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "usersync"
extensions = ["myst_parser", "api_reference", "contract_pages"]

root_doc = "docs/index"
include_patterns = ["*.md", "contracts/**.md", "docs/**", "examples/**.md"]
exclude_patterns = [".*", "**/node_modules"]
suppress_warnings = ["misc.highlighting_failure"]  # Pygments knows no HAProxy configuration
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline", "tasklist"]  # attributes: badges of contract_pages

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["interfaces.css"]
