"""How Sphinx builds these pages: ``sphinx-build -W docs docs/_build``."""

from importlib.metadata import version as installed_version

project = "AAMC SDK"
author = "The AAMC SDK developers"
release = installed_version("aamc-sdk")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_attr_annotations = False
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"AAMC SDK {release}"
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
suppress_warnings = ["myst.xref_missing"]  # links to files of the repository that are no pages
