"""Episodes as one page of HTML without scripts or outside files."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aamc_router_r1.episode import BY_POLICY

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; background: #fff; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; } summary { cursor: pointer; }
.step { border-left: 4px solid #2a6fb0; padding: .2rem .8rem; margin: .6rem 0; background: #f5f8fb; }
.step.model { border-color: #3a8a4d; margin-left: 2rem; background: #f5faf6; }
.about { color: #555; font-size: .85rem; } .fault { color: #a11; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .3rem 0; font-size: .9rem; }
@media (prefers-color-scheme: dark) {
  body { color: #e6e6e6; background: #161616; } .step { background: #1c2530; } .step.model { background: #1b271e; }
  .about { color: #aaa; } .fault { color: #f88; } }
"""


def page(episodes: Sequence[Mapping[str, Any]], title: str = "Router-R1") -> str:
    """Return the page of episodes.

    Args:
        episodes: Their documents, with ``task``, ``answer`` and ``cost_usd`` beside those of :func:`aamc_router_r1.trace.document`.
        title: The page's title.
    """
    body = "\n".join(_episode(episode) for episode in episodes)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{_escaped(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n<h1>{_escaped(title)}</h1>\n{body}\n</body></html>\n'


def _episode(episode: Mapping[str, Any]) -> str:
    answer = episode.get("answer")
    reason = f" ({_escaped(episode['reason'])})" if episode.get("reason") else ""
    malformed = f' · <span class="fault">malformed: {_escaped(", ".join(episode["malformed"]))}</span>' if episode["malformed"] else ""
    facts = f"{_escaped(episode['outcome'])}{reason} · {episode['rounds']} rounds · {_cost(episode['cost_usd'])} · {episode['tokens']:,} tokens"
    steps = "\n".join(_steps(episode["steps"]))
    shown = "none" if answer is None else _escaped(answer)
    return (
        f"<section><h2>{_escaped(episode['task'])}</h2>\n<p><strong>Answer:</strong> {shown}</p>\n"
        f'<p class="about">{facts} · {episode["seconds"]:.2f} s{malformed}</p>\n<details open><summary>Steps</summary>\n{steps}\n</details></section>'
    )


def _steps(steps: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for step in steps:
        role = "policy" if step["role"] == BY_POLICY else "model"
        question = f"<pre><em>{_escaped(step['question'])}</em></pre>" if step["question"] else ""
        faults = step["error"] or ", ".join(step["faults"])
        fault = f'<div class="fault">{_escaped(faults)}</div>' if faults else ""
        about = f"{step['tokens']:,} tokens · {_cost(step['cost_usd'])} · {step['seconds']:.2f} s"
        yield (
            f'<div class="step {role}"><div class="about">{step["round"] + 1} · <strong>{_escaped(step["candidate"])}</strong> · {about}</div>'
            f"{question}<pre>{_escaped(step['text'])}</pre>{fault}</div>"
        )


def _cost(cost_usd: float | None) -> str:
    return "unknown cost" if cost_usd is None else f"{cost_usd:.3g} USD"


def _escaped(text: object) -> str:
    return html.escape(str(text))
