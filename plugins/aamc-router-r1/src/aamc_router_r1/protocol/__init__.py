"""The protocol of Router-R1: prompt, tags, parser, codecs, and the test of a whole episode's form. Nothing here waits or calls a model."""

from aamc_router_r1.protocol.codecs import Codec, TagsCodec, ToolsCodec, codec_of
from aamc_router_r1.protocol.errors import (
    AnswerError,
    EmptyQuestionError,
    ForgedInformationError,
    InformationError,
    NestedTagError,
    NoActionError,
    NoModelError,
    NoThinkingError,
    ProtocolError,
    RoutingClosedError,
    TextOutsideTagsError,
    UnbalancedTagError,
    UnknownModelError,
)
from aamc_router_r1.protocol.names import ModelNames, SubQuestion
from aamc_router_r1.protocol.prompt import CODECS, TAGS, TOOLS, ModelCard, cards_of, render_prompt
from aamc_router_r1.protocol.transcript import Segment, clean, escaped, format_errors, information, joined, truncated
from aamc_router_r1.protocol.turns import Element, PolicyTurn, cut_turn, elements, parse_turn

__all__ = [
    "CODECS",
    "TAGS",
    "TOOLS",
    "AnswerError",
    "Codec",
    "Element",
    "EmptyQuestionError",
    "ForgedInformationError",
    "InformationError",
    "ModelCard",
    "ModelNames",
    "NestedTagError",
    "NoActionError",
    "NoModelError",
    "NoThinkingError",
    "PolicyTurn",
    "ProtocolError",
    "RoutingClosedError",
    "Segment",
    "SubQuestion",
    "TagsCodec",
    "TextOutsideTagsError",
    "ToolsCodec",
    "UnbalancedTagError",
    "UnknownModelError",
    "cards_of",
    "clean",
    "codec_of",
    "cut_turn",
    "elements",
    "escaped",
    "format_errors",
    "information",
    "joined",
    "parse_turn",
    "render_prompt",
    "truncated",
]
