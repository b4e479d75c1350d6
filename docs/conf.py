"""Configuration of Sphinx: ``sphinx-build -W docs docs/_build``."""

from importlib.metadata import version as installed_version

project = "AAMC SDK"
author = "The AAMC SDK developers"
release = installed_version("aamc-sdk")
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"AAMC SDK {release}"
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
suppress_warnings = ["myst.xref_missing"]  # links to files of the repository outside docs/
