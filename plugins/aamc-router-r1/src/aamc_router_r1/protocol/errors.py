"""Errors of the protocol. Each names the fault of a turn or an episode, and tells the policy how to correct it."""

from __future__ import annotations

from typing import ClassVar

from aamc_sdk.errors import AamcError


class ProtocolError(AamcError):
    """Raised when a policy's text breaks the protocol.

    Attributes:
        kind: The name of the fault in traces and metrics.
        blocking: Whether nothing of the turn can be carried out.
    """

    kind: ClassVar[str] = "protocol"
    blocking: ClassVar[bool] = True

    def __eq__(self, other: object) -> bool:
        """Compare type and message, so that two parses of one text are equal."""
        return type(self) is type(other) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash((type(self), str(self)))


class UnbalancedTagError(ProtocolError):
    """Raised when a tag is opened and not closed, or closed and not opened."""

    kind = "unbalanced_tag"


class NestedTagError(ProtocolError):
    """Raised when a tag is opened inside another one, such as an answer inside thinking."""

    kind = "nested_tag"


class ForgedInformationError(ProtocolError):
    """Raised when the policy writes ``<information>`` itself."""

    kind = "forged_information"


class NoActionError(ProtocolError):
    """Raised when a turn neither consults a model nor answers."""

    kind = "no_action"


class NoModelError(ProtocolError):
    """Raised when a search has no model's name before a colon."""

    kind = "no_model"


class UnknownModelError(ProtocolError):
    """Raised when a search names a model that is not in the pool."""

    kind = "unknown_model"


class EmptyQuestionError(ProtocolError):
    """Raised when a search has no sub-question, or a placeholder in its place."""

    kind = "empty_question"


class RoutingClosedError(ProtocolError):
    """Raised when a model is consulted after the last round."""

    kind = "routing_closed"


class AnswerError(ProtocolError):
    """Raised when there is not exactly one answer, or it is empty or not at the end."""

    kind = "answer"


class InformationError(ProtocolError):
    """Raised when the searches of an episode do not match its informations."""

    kind = "information"


class NoThinkingError(ProtocolError):
    """Raised when thinking is missing at the start, empty, or a placeholder. The action is still carried out."""

    kind = "no_thinking"
    blocking = False


class TextOutsideTagsError(ProtocolError):
    """Raised when there is text outside the tags. The action is still carried out."""

    kind = "text_outside_tags"
    blocking = False
