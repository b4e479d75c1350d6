"""Pooling, normalisation and prompt of a sentence encoder, as the sentence-transformers library keeps them next to the model.

``modules.json`` lists the steps after the transformer, ``1_Pooling/config.json`` describes the pooling, and
``config_sentence_transformers.json`` has the prompts. A model without these files is mean-pooled.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from aamc_sdk.errors import AamcError, ConfigError
from aamc_sdk.storage import read_json, write_json

logger = logging.getLogger(__name__)

MODULES, PROMPTS = "modules.json", "config_sentence_transformers.json"
FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""The poolings by the flags of older files; several are concatenated in this order."""


@attrs.frozen(kw_only=True)
class SentenceFormat:
    """The steps from a text to its tokens, and from the tokens' vectors to one embedding.

    Attributes:
        poolings: Names of poolings, whose results are concatenated.
        normalize: Whether the embedding is scaled to unit length.
        prompt: A prefix of every text.
        include_prompt: Whether the prompt's tokens are pooled too.
    """

    poolings: tuple[str, ...] = ("mean",)
    normalize: bool = False
    prompt: str = ""
    include_prompt: bool = True

    @classmethod
    def read(cls, place: str) -> SentenceFormat:
        """Read the format of a model in a folder or on the hub.

        Raises:
            AamcError: The hub cannot be reached.
            CheckpointError: A file is damaged.
            ConfigError: A file has an unknown pooling or another structure.
        """
        modules = _read(place, MODULES)
        if modules is None:
            return cls()
        try:
            kinds = {module["type"].rpartition(".")[2]: module["path"] for module in modules}
            pooling = _read(place, file := f"{kinds['Pooling']}/config.json") if "Pooling" in kinds else {}
            if pooling is None and Path(place).is_dir():
                raise ConfigError(f"encoder {place!r} lacks {file}, which its {MODULES} names; copy it too, or remove {MODULES} for mean pooling")
            pooling = pooling or {}
            poolings, include_prompt = _poolings(pooling), bool(pooling.get("include_prompt", True))
            prompt = _query_prompt(_read(place, PROMPTS) or {})
        except (KeyError, TypeError, AttributeError) as error:
            cause = f"{MODULES} of encoder {place!r} does not describe a sentence encoder ({error!r})"
            raise ConfigError(f"{cause}; remove the file for mean pooling") from error
        if unknown := set(poolings) - set(FLAGS.values()):
            raise ConfigError(f"encoder {place!r} has pooling {', '.join(sorted(map(str, unknown)))}; known are {', '.join(FLAGS.values())}")
        if left_out := sorted(set(kinds) - {"Transformer", "Pooling", "Normalize"}):
            logger.warning("encoder %r is used without its modules %s, which are not supported", place, ", ".join(left_out))
        return cls(poolings=poolings, normalize="Normalize" in kinds, prompt=prompt, include_prompt=include_prompt)

    def write(self, folder: Path, width: int) -> None:
        """Write the files next to a saved model, whose token vectors have this width, for this class and the sentence-transformers library.

        There are none for plain mean pooling.
        """
        if self == SentenceFormat():
            return
        paths = {"Transformer": "", "Pooling": "1_Pooling"} | ({"Normalize": "2_Normalize"} if self.normalize else {})
        modules = [
            {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for place, (kind, path) in enumerate(paths.items())
        ]
        pooling = self.poolings[0] if len(self.poolings) == 1 else self.poolings
        write_json(folder / MODULES, modules)
        about = {"word_embedding_dimension": width, "pooling_mode": pooling, "include_prompt": self.include_prompt}
        write_json(folder / "1_Pooling" / "config.json", about)
        write_json(folder / PROMPTS, {"prompts": {"query": self.prompt} if self.prompt else {}, "default_prompt_name": None})


def _poolings(config: Mapping[str, Any]) -> tuple[str, ...]:
    mode = config.get("pooling_mode")
    if mode is None:
        return tuple(name for flag, name in FLAGS.items() if config.get(flag)) or ("mean",)
    return tuple(mode) if isinstance(mode, list) else (mode,)


def _query_prompt(config: Mapping[str, Any]) -> str:
    """Return the prompt named ``query``; without one, the default prompt."""
    prompts, default = config.get("prompts") or {}, config.get("default_prompt_name")
    return str(prompts.get("query") or (prompts[default] if default else ""))


def _read(place: str, name: str) -> Any:
    """Return the content of a JSON file of a model in a folder or on the hub; None if the file does not exist or, offline, is not at hand."""
    if Path(place).is_dir():
        return read_json(Path(place) / name) if (Path(place) / name).is_file() else None
    from huggingface_hub import _CACHED_NO_EXIST, constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        path = hf_hub_download(place, name)
    except Exception as error:  # the hub's library passes on the errors of its HTTP library
        absent = isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError)
        if absent or try_to_load_from_cache(place, name) is _CACHED_NO_EXIST:  # the hub has answered, now or before, that it has no such file
            return None
        if not constants.HF_HUB_OFFLINE:
            cause = f"encoder {place!r} needs its {name}, if there is one, and the hub did not send it ({' '.join(str(error).split())})"
            raise AamcError(f"{cause}; try again, or set HF_HUB_OFFLINE=1 for mean pooling without a prompt") from error
        logger.warning("encoder %r is used without its %s, which could not be fetched: its pooling or prompt may be wrong", place, name)
        return None
    return read_json(Path(path))
