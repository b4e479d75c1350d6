"""The protocol of Router-R1: prompt, tags, parser, codecs, and the test of a whole episode's form. Nothing here waits or calls a model."""

from aamc_router_r1.protocol.codecs import Codec, TagsCodec, ToolsCodec, codec_of
from aamc_router_r1.protocol.prompt import CODECS, TAGS, render_prompt
from aamc_router_r1.protocol.transcript import Segment, clean, escaped, format_errors, information, joined, truncated
from aamc_router_r1.protocol.turns import (
    Element,
    ModelNames,
    PolicyTurn,
    ProtocolError,
    SubQuestion,
    answer_in,
    cut_turn,
    elements,
    parse_turn,
)

__all__ = [
    "CODECS",
    "TAGS",
    "Codec",
    "Element",
    "ModelNames",
    "PolicyTurn",
    "ProtocolError",
    "Segment",
    "SubQuestion",
    "TagsCodec",
    "ToolsCodec",
    "answer_in",
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
