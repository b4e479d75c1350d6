"""Episodes as one page of HTML without scripts or outside files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aamc_router_r1.episode import BY_POLICY


def page(episodes: Sequence[Mapping[str, Any]], title: str = "Router-R1") -> str:
    """Return the page of episodes.

    Args:
        episodes: Their documents, with ``task``, ``answer`` and ``cost_usd`` in addition to those of :func:`aamc_router_r1.trace.document`.
        title: The page's title.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("aamc_router_r1", "trace"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return templates.get_template("page.html.j2").render(episodes=episodes, title=title, by_policy=BY_POLICY)
