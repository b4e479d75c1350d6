"""Agent ``retriever``: finds passages of the task's corpus by BM25 (Robertson and Zaragoza 2009; library ``bm25s``)."""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs

from aamc_agents.state import TaskState
from aamc_agents.tool import AgentError, ReaderConfig, Tool, check_extra, subject
from aamc_sdk import Candidate, Services, option
from aamc_sdk.errors import ConfigError

QUESTION, PASSAGE = "Question: ", "- "
"""Prefixes of the output's lines: the question, then one passage a line."""
NAME_WEIGHT = 3
"""Weight of a capitalised word."""
_NAME = re.compile(r"\b[A-Z]\w+")


@attrs.frozen(kw_only=True)
class RetrieverConfig(ReaderConfig):
    """Search and billing."""

    folder: str = option("", "Folder of .txt and .md files whose paragraphs are searched if the task has no documents.")
    passages: int = option(20, "Maximum number of passages.", at_least=1)


class Retriever(Tool):
    """Finds passages about the question in the last output, else about the task."""

    Config = RetrieverConfig
    config: RetrieverConfig
    spec = Candidate("retriever", "Searches the documents for passages about a question on people, companies and places.")

    def __init__(self, config: RetrieverConfig, services: Services) -> None:
        check_extra("agent retriever", "aamc-agents[retriever]", "bm25s")
        super().__init__(config, services)

    async def act(self, state: TaskState) -> str:
        """Return the question and the best passages, one a line."""
        corpus = state.task.corpus or (paragraphs_of(Path(self.config.folder).expanduser()) if self.config.folder else ())
        if not corpus:
            raise AgentError("there are no documents to search")
        said = subject(state)
        question = said if said.rstrip().endswith("?") else state.task.text
        found = search(corpus, question, self.config.passages)
        if not found:
            raise AgentError(f"no document has a word of the question {question!r:.80}, apart from common words such as 'the'")
        return "\n".join((f"{QUESTION}{question}", *(f"{PASSAGE}{passage}" for passage in found)))


def search(corpus: tuple[str, ...], question: str, count: int) -> list[str]:
    """Return at most ``count`` passages that share a word with a question, best first; capitalised words weigh more."""
    weighted = " ".join((question, *_NAME.findall(question) * (NAME_WEIGHT - 1)))
    positions, scores = _index(corpus).retrieve(_tokens([weighted]), k=min(count, len(corpus)), show_progress=False)
    return [" ".join(corpus[position].split()) for position, score in zip(positions[0].tolist(), scores[0].tolist(), strict=True) if score > 0]


@lru_cache(maxsize=8)
def paragraphs_of(folder: Path) -> tuple[str, ...]:
    """Return the paragraphs of a folder's texts; the folder is read once. A link out of the folder is no text of it.

    Raises:
        ConfigError: The folder is missing or has no text, or a text is not UTF-8.
    """
    texts_below = (file for file in folder.rglob("*") if file.suffix in (".txt", ".md") and file.is_file())
    files = sorted(file for file in texts_below if file.resolve().is_relative_to(folder.resolve()))
    try:
        texts = [file.read_text(encoding="utf-8") for file in files]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the texts in {folder}: {error}") from error
    if not files:
        raise ConfigError(f"{folder} has no .txt or .md file to search")
    return tuple(paragraph.strip() for text in texts for paragraph in re.split(r"\n\s*\n", text) if paragraph.strip())


@lru_cache(maxsize=32)
def _index(corpus: tuple[str, ...]) -> Any:
    import bm25s  # type: ignore[import-untyped]  # it has no types

    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it logs every index otherwise
    index, tokens = bm25s.BM25(), _tokens(list(corpus))
    if not any(tokens.ids):
        raise AgentError("the documents have no words to search for")
    index.index(tokens, show_progress=False)
    return index


def _tokens(texts: list[str]) -> Any:
    import bm25s

    return bm25s.tokenize(texts, stopwords="en", show_progress=False)
