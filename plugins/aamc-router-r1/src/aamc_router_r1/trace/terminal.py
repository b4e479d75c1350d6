"""Episodes in the terminal: a line for each call."""

from __future__ import annotations

import math

from rich.text import Text

from aamc_router_r1.episode import BY_POLICY, ModelCall
from aamc_sdk.cli import one_line

WIDTH = 160
"""Maximum characters of a text in a line."""


def line(call: ModelCall) -> Text:
    """Return the line of a call: candidate, text, tokens, cost and time."""
    is_policy = call.role == BY_POLICY
    text = call.text if is_policy else f"{call.question} -> {call.text}"
    cost = "unknown cost" if math.isnan(call.cost_usd) else f"{call.cost_usd:.3g} USD"
    shown = Text(f"{call.round + 1} ")
    shown.append(call.candidate, style="bold cyan" if is_policy else "bold green")
    shown.append(f"  {one_line(text or '', WIDTH)}  ")
    shown.append(f"{call.tokens:,} tokens, {cost}, {call.seconds:.2f} s", style="dim")
    if call.error or call.faults:
        shown.append(f"  {one_line(call.error or ', '.join(call.faults), WIDTH)}", style="red")
    return shown
