"""The base class of embedders: each text is computed once, cached in memory and on disk, on all cores."""

from __future__ import annotations

import abc
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

import numpy as np
from aamc_lexical.embedding_estimator import MAX_REMEMBERED_CHARACTERS
from numpy.typing import NDArray

from aamc_sdk.errors import AamcError
from aamc_sdk.interfaces import NoProgress, Progress
from aamc_tce.encoders.vector_cache import Vector, VectorCache, cache_folder

MANY_TEXTS = 32
"""Number of texts from which a batch is a dataset: its embeddings are cached on disk, and the expected time is reported. A smaller batch is a
served request, which leaves nothing on disk."""
REMEMBERED_TEXTS = 20_000
BATCH_SIZE = 32
KEPT_AT_ONCE = 1_000
"""Number of embeddings that are written to the disk cache together; a stopped computation loses no more."""
TokenIds = list[int]


def available_cores() -> int:
    """Return the number of cores this process may use: ``OMP_NUM_THREADS`` if set, else its CPU affinity."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    if limit.isdigit() and int(limit) > 0:
        return int(limit)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Embedder(abc.ABC):
    """A tokenizer and a text encoder; thread-safe.

    Args:
        fingerprint: A hash of everything except the text that an embedding depends on.
        width: The length of an embedding.
        prompt: A prefix of every text.
    """

    def __init__(self, fingerprint: str, width: int, prompt: str = "") -> None:
        self.fingerprint = fingerprint
        self.width = width
        self.prompt = prompt
        self._lock = threading.Lock()
        self._remembered: OrderedDict[str, Vector] = OrderedDict()
        self._cache: VectorCache | None = VectorCache(cache_folder(), fingerprint, width)

    def tokenize(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return at most ``max_length`` tokens of each text, the prompt's among them: of a longer text the first and the last ones."""
        return self._tokenize([self.prompt + text for text in texts] if self.prompt else texts)

    @abc.abstractmethod
    def _tokenize(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return at most ``max_length`` tokens of each text as it is."""

    @abc.abstractmethod
    def _pooled(self, batch: Sequence[TokenIds]) -> NDArray[np.float16]:
        """Return the embeddings of tokenized texts, ``[B, width]``."""

    def _workers(self) -> int:
        """Return the number of batches computed in parallel."""
        return available_cores()

    def _one_core_each(self) -> AbstractContextManager[None]:
        """Return a context in which each batch uses one core."""
        return nullcontext()

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """Return the embeddings of texts, ``[B, width]``; each is computed once.

        Computed embeddings are rounded to the precision of the cache, so results do not depend on it.
        """
        unique = list(dict.fromkeys(texts))
        with self._lock:
            known = {text: self._remembered[text] for text in unique if text in self._remembered}
        missing = [text for text in unique if text not in known]
        if len(missing) < MANY_TEXTS:
            known |= dict(zip(missing, self._finite(self.tokenize(missing)), strict=True)) if missing else {}  # on the calling thread
        elif (cache := self._cache) is None:
            known |= self._compute(missing, progress or NoProgress())
        else:
            cached = cache.get(missing)
            known |= cached | self._compute([text for text in missing if text not in cached], progress or NoProgress(), cache.put)
        with self._lock:
            self._remembered |= {text: vector for text, vector in known.items() if len(text) <= MAX_REMEMBERED_CHARACTERS}
            while len(self._remembered) > REMEMBERED_TEXTS:
                self._remembered.popitem(last=False)
        return np.array([known[text] for text in texts], dtype=np.float32).reshape(len(texts), self.width)

    def seconds_for(self, tokens: Sequence[TokenIds]) -> float:
        """Return the expected time on one core in seconds, measured on a few texts of median length."""
        middle = sorted(tokens, key=len)[len(tokens) // 2]
        seconds = 0.0
        with self._one_core_each():
            for _ in range(2):  # the first call also warms up
                start = time.perf_counter()
                self._finite([middle] * 8)
                seconds = time.perf_counter() - start
        return seconds * sum(map(len, tokens)) / (8 * max(len(middle), 1))

    def _finite(self, batch: Sequence[TokenIds]) -> NDArray[np.float16]:
        """Return the embeddings of tokenized texts after checking that half precision holds them."""
        with np.errstate(over="ignore"):
            vectors = self._pooled(batch)
        if np.isnan(vectors).any():
            raise AamcError("the encoder gives NaN: its weights are damaged; copy its files again, or name another encoder")
        if not np.isfinite(vectors).all():
            scaled = "set estimator.layers to 2 or more, which scales each layer, or name another encoder (fine_tune cannot use this one)"
            raise AamcError(f"the encoder gives numbers above 65,504, the limit of half precision; {scaled}")
        return vectors

    def _compute(self, texts: list[str], progress: Progress, keep: Callable[[dict[str, Vector]], None] = lambda _: None) -> dict[str, Vector]:
        """Embed the texts of a dataset in parallel; ``keep`` receives the vectors as they come, ``KEPT_AT_ONCE`` at a time."""
        if not texts:
            return {}
        tokens = self.tokenize(texts)
        order = sorted(range(len(texts)), key=lambda row: len(tokens[row]))  # texts of similar length together need little padding
        batches = [order[start : start + BATCH_SIZE] for start in range(0, len(order), BATCH_SIZE)]
        progress.say(f"embedding {len(texts):,} texts: about {max(self.seconds_for(tokens) / self._workers(), 1):.0f} s")
        progress.start("embedding texts", len(texts))
        vectors: dict[str, Vector] = {}
        fresh: dict[str, Vector] = {}
        with self._one_core_each(), ThreadPoolExecutor(self._workers()) as workers:
            for rows, pooled in zip(batches, workers.map(lambda rows: self._finite([tokens[row] for row in rows]), batches), strict=True):
                fresh.update((texts[row], vector) for row, vector in zip(rows, pooled, strict=True))
                progress.advance(len(rows))
                if len(fresh) >= KEPT_AT_ONCE:
                    keep(fresh)
                    vectors, fresh = vectors | fresh, {}
        keep(fresh)
        return vectors | fresh
