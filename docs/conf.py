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

SIDEBAR = {
    "index": {
        "": ["tutorial", "glossary"],
        "How to": ["how-to/*"],
        "Reference": ["reference/python/index", "reference/*"],
        "Explanation": ["explanation/*", "results", "performance", "decisions"],
    },
    "reference/python/index": {"": ["aamc_*"]},
    "decisions": {"": ["decisions/*"]},
}
"""The pages of the sidebar: by page that has them below it, by caption. Not in the pages, where the forge would show it as code."""


def setup(app):  # noqa: D103  # Sphinx calls it
    app.connect("source-read", _add_sidebar)


def _add_sidebar(app, page, source):
    for caption, entries in SIDEBAR.get(page, {}).items():
        options = [":hidden:", ":glob:", *([f":caption: {caption}"] if caption else [])]
        source[0] += "\n".join(("", "```{toctree}", *options, "", *entries, "```", ""))
