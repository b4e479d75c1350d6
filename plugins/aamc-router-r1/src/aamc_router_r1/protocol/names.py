"""The names by which a policy calls the models of the pool."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import attrs

from aamc_router_r1.protocol.errors import EmptyQuestionError, NoModelError, UnknownModelError
from aamc_sdk.errors import ConfigError, nearest, one_of

_PLACEHOLDER_NAMES = re.compile(r"(llm|model)[-_ ]?name", re.IGNORECASE)
_PLACEHOLDERS = re.compile(
    r".*\bllm[-_]name\b.*|.*your[-_]query.*|todo|n/a|none|placeholder|"
    r"((your|the|a|concrete)[-_ ])*(sub[-_ ]?)?(question|query)([-_ ]here)?|[!-/:-@\[-`{-~…\s]*",
    re.IGNORECASE | re.DOTALL,
)
_WRAPPING = " \t\r\n<>[]{}()\"'`."


@attrs.frozen
class SubQuestion:
    """A question to a model of the pool.

    Attributes:
        model: The candidate's name.
        question: The sub-question.
    """

    model: str
    question: str


class ModelNames:
    """Recognises the models in ``Model-Name: sub-question``.

    Names match exactly and with case. The longest matching name counts, since a name may hold a colon, as ``qwen2.5:7b`` does.

    Args:
        names: The names of the candidates.
        aliases: Further names, each with the candidate's name.

    Raises:
        ConfigError: An alias stands for no candidate, or is another candidate's name.
    """

    def __init__(self, names: Iterable[str], aliases: Mapping[str, str] | None = None) -> None:
        self.names = tuple(names)
        for alias, name in (aliases or {}).items():
            if name not in self.names:
                raise ConfigError(f"alias {alias!r} stands for {name!r}, which is not a candidate{nearest(name, self.names)} ({one_of(self.names)})")
            if alias in self.names and alias != name:
                raise ConfigError(f"alias {alias!r} is the name of another candidate; choose another alias")
        self._known = {**{name: name for name in self.names}, **(aliases or {})}
        known = "|".join(re.escape(name) for name in sorted(self._known, key=len, reverse=True))
        self._pattern = re.compile(rf"\s*({known})\s*:(.*)", re.DOTALL)

    def call(self, text: str) -> SubQuestion:
        """Return the call that the text of a search makes; a sub-question may hold colons.

        Raises:
            NoModelError: There is no colon, so no name.
            UnknownModelError: The name is not a candidate's.
            EmptyQuestionError: The sub-question is empty or a placeholder.
        """
        found = self._pattern.fullmatch(text)
        if found is None:
            name, colon, question = text.partition(":")
            if not colon:
                raise NoModelError(f"a search must be Model-Name: sub-question, not {text.strip()!r:.200}; begin it with one of: {self._choice}")
            if _PLACEHOLDER_NAMES.fullmatch(name.strip(_WRAPPING)):
                raise EmptyQuestionError(f"{name.strip()!r} is a placeholder; write a model's name in its place, one of: {self._choice}")
            name = name.strip()
            raise UnknownModelError(f"there is no model {name!r:.200}{nearest(name, self.names)}; write one of these names exactly: {self._choice}")
        model, question = self._known[found[1]], found[2].strip()
        if _PLACEHOLDERS.fullmatch(question.strip(_WRAPPING)) or question == found[1]:
            raise EmptyQuestionError(f"the search for {model!r} has no sub-question but {question!r}; write a concrete question after the colon")
        return SubQuestion(model, question)

    @property
    def _choice(self) -> str:
        return ", ".join(self.names)
