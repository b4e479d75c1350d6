"""Requests that a client makes for its own purposes: naming a chat, tagging it, summarising it in a line."""

from __future__ import annotations

import re

HEAD = 4000
"""Characters at the start of the system prompt, and at the start and end of the last message, that are searched for the wording."""
_SUBJECTS = ("title", "tags", "git branch", "summari", "follow-up question")
_AFTER = (
    r"(?= (?:history|log|transcript|title|a user|the user|between (?:an?|the|you|me|us|user|human)|with|into|so far|above|below|based"
    r"|as|in|and|using|that)\b| ?[^\w -]| ?$)"
)
"""What follows the word for a chat, unless it belongs to another noun, as in "chat application"."""
_QUALIFIERS = (
    r"(?: (?:main|first|following|given|current|entire|whole|provided|short|coding|chat|topics?|themes?"
    r"|goals?|essence|or|and|of|the|this|that|user['\u2019]s)){0,8}"
)
_CHAT = (
    rf"\b(?:an?|the|this|that|these|our|my){_QUALIFIERS}"
    rf" (?:conversation|chat|thread|session|discussion|dialogue|new topic|messages?)\b{_AFTER}"
)
"""A chat or its topic."""
_WHOLE_CHAT = rf"\b(?:an?|the|this|that|these){_QUALIFIERS} (?:conversation|chat|session|discussion|dialogue)\b{_AFTER}"
"""A chat in the words of a client: people ask for summaries of a thread or a message too."""
_ADJECTIVES = (
    r"(?:[ ,]+(?:very|concise|short|brief|broad|descriptive|succinct|clear|simple|new|suitable|single|sentence-case|chat|conversation|thread|words?"
    r"|(?=[\w-]*(?:\d|-word))[\w-]+)){0,8}"
)
"""Words before "title". A word matches in one way only: several ways would multiply over the words."""
_TITLE = re.compile(
    r"\b(?:generat|creat|writ|provid|giv|extract|suggest|output|com(?:e|ing) up with)\w*(?: an?| the)?"
    rf"{_ADJECTIVES} (?:titles?|tags|git branch(?: name)?)\b"
    r"(?: (?:and|with|in) [^.\n]{1,30}?| \([^)\n]{1,30}\))?"
    rf" (?:for|of|based on|(?:that )?(?:captur|categori[sz]|summari[sz]|describ)\w+) {_CHAT}"
)
_TITLES = re.compile(
    rf"\byou are an? (?:(?:concise|helpful|chat|conversation|thread|session) ){{0,3}}title generator\b(?! (?:for|of|that)\b)"
    rf"|\bsummari[sz]e {_CHAT}[^.\n]{{0,40}} a{_ADJECTIVES} title\b"
)
_SUMMARY = re.compile(
    rf"\bsummari[sz]e {_WHOLE_CHAT}[^.\n]{{0,80}}\b(?:in|under|within|to) (?:under |less than |at most )?"
    r"(?:(?:\d{1,2}-)?\d{1,2} words|\d{1,3} characters|(?:1-2|[12]|one|two|a single) (?:short )?(?:word|sentence|line))"
)
_TASK_AMONG_OTHERS = re.compile(r"\b(?:after|at the end|always|then|also|why|how|prompt)\b")
"""Words earlier in the sentence: the title or the summary is one task of an application among others, or is only talked about."""
_MORE_TASKS = re.compile(r"[^\n]{0,40}?[.,;] (?:and )?then\b")
_QUESTIONS = re.compile(rf"\bsuggest\b[^.\n]{{0,40}}\bfollow-up questions?\b[^\n]{{0,120}}\bbased on {_CHAT}")


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
        if any(_is_found(expression, text) for expression in (_TITLE, _TITLES)):
            return "title"
        if any(_is_found(expression, text) for expression in (_SUMMARY, _QUESTIONS)):
            return "summary"
    return ""


def _is_found(expression: re.Pattern[str], text: str) -> bool:
    """Return whether a text asks for this, and for nothing else in the same sentence or the next."""
    found = expression.search(text)
    if found is None:
        return False
    sentence = max(text.rfind(".", 0, found.start()), text.rfind("\n", 0, found.start())) + 1
    return _TASK_AMONG_OTHERS.search(text, sentence, found.start()) is None and _MORE_TASKS.match(text, found.end()) is None
