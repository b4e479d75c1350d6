"""Requirements on a line of text, read from a task, for the checker and the reviser."""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

_TOPIC = re.compile(r"Mend this line about (\w+): '([^']+)'")
_USE = re.compile(r"Use the word (\w+)\.")
_AVOID = re.compile(r"Do not use the word (\w+)\.")
_AT_MOST = re.compile(r"At most (\d+) words\.")
_ENDING = re.compile(r"End with '(.)'\.")
FILLERS = ("really", "quite", "rather", "simply", "just")
"""Words that can be removed from a line."""


@attrs.frozen
class LineRequirements:
    """The requirements on a line.

    Attributes:
        topic: Its topic, a required word.
        draft: The given line.
        use: Required words.
        avoid: Forbidden words.
        at_most: Maximum number of words, or None.
        ending: Required last character.
    """

    topic: str
    draft: str
    use: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    at_most: int | None = None
    ending: str = "."

    @classmethod
    def read(cls, text: str) -> LineRequirements | None:
        """Return the requirements in a text, or None if it asks for no line."""
        topic, most, ending = (pattern.search(text) for pattern in (_TOPIC, _AT_MOST, _ENDING))
        if topic is None:
            return None
        return cls(
            topic=topic[1],
            draft=topic[2],
            use=tuple(_USE.findall(text)),
            avoid=tuple(_AVOID.findall(text)),
            at_most=int(most[1]) if most else None,
            ending=ending[1] if ending else ".",
        )

    def findings(self, line: str) -> Iterator[str]:
        """Yield the violated requirements of a line, in a fixed order."""
        words = words_of(line)
        yield from (f"the word {word} is missing" for word in (self.topic, *self.use) if word not in words)
        yield from (f"the word {word} is not allowed" for word in self.avoid if word in words)
        if self.at_most is not None and len(words) > self.at_most:
            yield f"it has {len(words)} words instead of at most {self.at_most}"
        if not line.rstrip().endswith(self.ending):
            yield f"it does not end with '{self.ending}'"


def words_of(line: str) -> list[str]:
    """Return a line's words in lower case."""
    return re.findall(r"\w+", line.lower())


def mended(line: str, finding: str) -> str | None:
    """Return a line with one finding corrected, or None if the finding is not understood."""
    body, ending = line.rstrip()[:-1], line.rstrip()[-1:]
    if found := re.search(r"the word (\w+) is missing", finding):
        return f"{body} with {found[1]}{ending}"
    if found := re.search(r"the word (\w+) is not allowed", finding):
        return f"{_without(body, found[1])}{ending}"
    if found := re.search(r"it has (\d+) words instead of at most (\d+)", finding):
        surplus = [word for word in words_of(body) if word in FILLERS][: int(found[1]) - int(found[2])]
        for word in surplus:
            body = _without(body, word)
        return f"{body}{ending}"
    if found := re.search(r"it does not end with '(.)'", finding):
        return f"{body}{found[1]}"
    return None


def _without(body: str, word: str) -> str:
    return " ".join(re.sub(rf"\b{re.escape(word)}\b", "", body, count=1, flags=re.IGNORECASE).split())
