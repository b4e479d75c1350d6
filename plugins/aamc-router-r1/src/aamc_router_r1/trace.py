"""Traces of episodes: as a document, in the decision log, in the terminal, and as a page of HTML.

In the log each call is a decision of the policy and an attempt, under one episode id. The decision's candidate is the model that was called. A
consulted model's query is the sub-question, the policy's is the task, and the turns are the calls before. Those of the last decision hold its own
text too, so that they are the whole trace. All texts are in the query, so the log keeps, redacts and erases them as those of any request. No
propensity is known: the policy writes text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
from rich.text import Text

from aamc_router_r1.config import POLICY
from aamc_router_r1.episode.calls import BY_POLICY, ModelCall
from aamc_router_r1.episode.dialogue import ANSWERED
from aamc_router_r1.episode.episode import Episode
from aamc_router_r1.protocol import answer_in
from aamc_sdk.cli import one_line
from aamc_sdk.types import Attempt, Decision, Preference, Query, Record, Turn


def document(episode: Episode) -> dict[str, Any]:
    """Return an episode's result and its calls as ``steps``; an unknown cost is None."""
    return {
        "episode": episode.id,
        "outcome": episode.outcome,
        "reason": episode.reason,
        "answered_by": episode.answered_by,
        "rounds": episode.dialogue.rounds,
        "malformed": [error.kind for error in episode.dialogue.format_errors],
        "cost_known": episode.budget.cost_known,
        "tokens": episode.budget.tokens,
        "seconds": round(episode.seconds, 6),
        "steps": [step(call) for call in episode.calls],
    }


def step(call: ModelCall) -> dict[str, Any]:
    """Return a call as a step."""
    return {
        **attrs.asdict(call, filter=attrs.filters.exclude("public_error", "failure")),
        "tokens": call.tokens,
        "cost_usd": None if math.isnan(call.cost_usd) else call.cost_usd,
        "seconds": round(call.seconds, 6),
        "faults": list(call.faults),
    }


ROUTER = "router-r1"


def logged(episode: Episode, task: Query, preference: Preference) -> tuple[list[Record], list[Attempt]]:
    """Return the log's entries of an episode on a task, whose request had this preference."""
    candidates = (episode.setup.policy.name, *(name for name in episode.setup.names.names if name != episode.setup.policy.name))
    turns = list(_turns(episode))
    records = []
    for position, call in enumerate(episode.calls):
        known = turns if call is episode.calls[-1] else turns[:position]
        text = task.text if call.role == BY_POLICY else call.question
        query = Query(text, user=task.user, session=task.session, turns=(*task.turns, *known), tenant=task.tenant)
        records.append(Record.of_step(decision_of(episode, call, preference), query, candidates))
    return records, [_attempt(call) for call in episode.calls]


def decision_of(episode: Episode, call: ModelCall, preference: Preference) -> Decision:
    """Return the decision that led to a call."""
    notes: dict[str, Any] = {"role": call.role, "round": call.round, "faults": list(call.faults)}
    if episode.outcome and call is episode.calls[-1]:
        notes |= {"outcome": episode.outcome, "answered_by": episode.answered_by, "calls": len(episode.calls)}
        notes |= {"rounds": episode.dialogue.rounds, "malformed": [error.kind for error in episode.dialogue.format_errors]}
    return Decision(call.id, call.candidate, math.nan, preference, router=ROUTER, time=call.time, notes=notes, episode=episode.id)


def _turns(episode: Episode) -> Iterator[Turn]:
    """Yield the text of each call, and last an answer that is not the policy's own."""
    for call in episode.calls:
        yield Turn("assistant" if call.role == BY_POLICY else "user", call.text, call.candidate)
    if episode.answer is not None and episode.answered_by != POLICY:
        yield Turn("assistant", episode.answer)


def _attempt(call: ModelCall) -> Attempt:
    return Attempt(
        call.id,
        n=0,
        candidate=call.candidate,
        cost_usd=call.cost_usd,
        latency_ms=1000 * call.seconds,
        output_tokens=call.output_tokens,
        error=call.error,
        status=call.status,
        cost_source=call.cost_source,
        prompt_tokens=call.prompt_tokens,
    )


def document_of(records: Sequence[Record], attempts: Mapping[str, Attempt]) -> dict[str, Any]:
    """Return a logged episode as :func:`document` does, from its records and its calls by decision id; texts are empty where the log keeps none."""
    last = records[-1]
    notes, all_turns = last.decision.notes, last.query.turns
    own = len(records) + (notes.get("answered_by") not in ("", POLICY, None))
    turns = [turn.content for turn in all_turns[-own:]] if len(all_turns) >= own else [""] * own
    steps = [_step(record, text, attempts.get(record.decision.id)) for record, text in zip(records, turns, strict=False)]
    return {
        "task": next((record.query.text for record in records if record.decision.notes["role"] == BY_POLICY), ""),
        "answer": answer_in(turns[-1]) if notes.get("outcome") == ANSWERED else turns[-1] if own > len(records) else None,
        "outcome": notes.get("outcome", ""),
        "rounds": notes.get("rounds", len({step["round"] for step in steps if step["role"] != BY_POLICY})),
        "malformed": notes.get("malformed", sorted({fault for step in steps for fault in step["faults"]})),
        "cost_usd": sum(step["cost_usd"] or 0.0 for step in steps),
        "tokens": sum(step["tokens"] for step in steps),
        "seconds": sum(step["seconds"] for step in steps),
        "steps": steps,
    }


def _step(record: Record, text: str, call: Attempt | None) -> dict[str, Any]:
    decision = record.decision
    known = call is not None and not math.isnan(call.cost_usd)
    return {
        **{key: decision.notes[key] for key in ("role", "round", "faults")},
        "candidate": decision.candidate,
        "text": text,
        "question": "" if decision.notes["role"] == BY_POLICY else record.query.text,
        "tokens": 0 if call is None else (call.prompt_tokens or 0) + (call.output_tokens or 0),
        "cost_usd": call.cost_usd if call is not None and known else None,
        "seconds": 0.0 if call is None or math.isnan(call.latency_ms) else call.latency_ms / 1000,
        "error": None if call is None else call.error,
    }


WIDTH = 160
"""Maximum characters of a text in a line."""


def line(step: Mapping[str, Any]) -> Text:
    """Return the line of a :func:`step`: candidate, text, tokens, cost and time."""
    is_policy = step["role"] == BY_POLICY
    text = step["text"] if is_policy else f"{step['question']} -> {step['text']}"
    cost = "unknown cost" if step["cost_usd"] is None else f"{step['cost_usd']:.3g} USD"
    shown = Text(f"{step['round'] + 1} ")
    shown.append(step["candidate"], style="bold cyan" if is_policy else "bold green")
    shown.append(f"  {one_line(text or '', WIDTH)}  ")
    shown.append(f"{step['tokens']:,} tokens, {cost}, {step['seconds']:.2f} s", style="dim")
    if step["error"] or step["faults"]:
        shown.append(f"  {one_line(step['error'] or ', '.join(step['faults']), WIDTH)}", style="red")
    return shown


def page(episodes: Sequence[Mapping[str, Any]], title: str = "Router-R1") -> str:
    """Return episodes as one page of HTML, without scripts or outside files.

    Their documents have ``task``, ``answer`` and ``cost_usd`` in addition to those of :func:`document`.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("aamc_router_r1", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return templates.get_template("trace.html.j2").render(episodes=episodes, title=title, by_policy=BY_POLICY)
