"""Requests that a client makes for its own purposes: naming a chat, tagging it, summarising it in a line."""

from __future__ import annotations

import re
from itertools import islice

HEAD = 4000
"""Characters at the start of the system prompt, and at the start and end of the last message, that are searched for the wording."""
_MAX_WORDS = 20
"""Times that a word such as "title" is looked at in one text."""
_BEFORE, _AFTER = 100, 160
"""Characters before and after such a word in which the rest of the wording must stand."""
_CHAT = re.compile(r"\b(?:conversation|chat|thread|session|discussion|dialogue|topic|messages?)\b")
_SUBJECTS = ("title", "tags", "name", "git branch", "summari", "follow-up question")
_TITLE = re.compile(r"\b(?:titles?|tags|name|git branch)\b")
_MAKE = re.compile(r"\b(?:generat|creat|writ|provid|giv|extract|suggest|com(?:e|ing) up with|output|summari[sz])\w*[^.\n]*$")
_TITLES = re.compile(r"\btitle generator\b|\binto a (?:short )?title\b")
_SUMMARY = re.compile(r"\bsummari[sz]e (?:this|the)\b")
_SHORT = re.compile(r"\b(?:in|under|within|to) (?:under |less than |at most )?(?:\d+|one|a single)\b")
_QUESTIONS = re.compile(r"\bsuggest\b[^.\n]{0,40}\bfollow-up questions?\b")


def side_request(system: str, last: str, tools: bool) -> str:
    """Return ``"title"`` or ``"summary"`` for a request that a client makes for its own purposes, else ``""``.

    The full summary with which an agent compacts its context is none: the work goes on from it, so it must be good.
    """
    if tools:  # a client that names a chat offers none
        return ""
    for head in (system[:HEAD], last[:HEAD], last[-HEAD:] if len(last) > HEAD else ""):
        text = head.lower()
        if not text or not any(word in text for word in _SUBJECTS):  # five times as quick as the expressions below
            continue
        if _names_a_chat(text):
            return "title"
        if _sums_up_a_chat(text):
            return "summary"
    return ""


def _names_a_chat(text: str) -> bool:
    if _TITLES.search(text) is not None:
        return True
    for word in islice(_TITLE.finditer(text), _MAX_WORDS):
        made = _MAKE.search(text[max(0, word.start() - _BEFORE) : word.start()]) is not None
        if made and _CHAT.search(_line(text, word.end())) is not None:
            return True
    return False


def _sums_up_a_chat(text: str) -> bool:
    for word in islice(_SUMMARY.finditer(text), _MAX_WORDS):
        rest = _line(text, word.end()).partition(".")[0]
        if _CHAT.search(rest) is not None and _SHORT.search(rest) is not None:
            return True
    return any(_CHAT.search(_line(text, word.end())) is not None for word in islice(_QUESTIONS.finditer(text), _MAX_WORDS))


def _line(text: str, begin: int) -> str:
    """Return the rest of a line."""
    return text[begin : begin + _AFTER].partition("\n")[0]
