"""Checks for ``aamc doctor``: the encoders at hand, and the cache of embeddings."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile

from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Diagnosis
from aamc_tce.encoders.vector_cache import cache_folder


def check_encoders() -> list[Diagnosis]:
    """Check the encoders that can be loaded without the network."""
    try:
        from huggingface_hub import try_to_load_from_cache

        from aamc_tce.encoders.torch_encoder import BUNDLED, SHORT_NAMES, resolve
    except (ConfigError, ImportError, OSError) as error:  # a library of the system may be missing
        state = f"none can be loaded, only exported checkpoints ({' '.join(str(error.__cause__ or error).split())})"
        return [Diagnosis("encoders", state, "warning", "pip install torch transformers, or serve checkpoints of aamc train --export onnx")]

    try:
        found = [Diagnosis(f"encoder {BUNDLED}", f"found in {resolve(BUNDLED)}")]
    except ConfigError as error:
        state, _, advice = str(error).partition(": ")
        found = [Diagnosis(f"encoder {BUNDLED}", state, "broken", advice)]
    for name in ("distilbert-base-uncased", *SHORT_NAMES):
        weights = (try_to_load_from_cache(resolve(name), file) for file in ("model.safetensors", "pytorch_model.bin"))
        kept = next((path for path in weights if isinstance(path, str)), None)
        if kept is None:
            advice = f"only for estimator.encoder={name}: connect to the hub once, or give a local folder"
            found.append(Diagnosis(f"encoder {name}", "not downloaded", advice=advice))
        else:
            found.append(Diagnosis(f"encoder {name}", f"found in {Path(kept).parent}"))
    return found


def check_cache() -> list[Diagnosis]:
    """Check that embeddings can be cached."""
    folder = cache_folder()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        TemporaryFile(dir=existing).close()  # permissions do not tell: nobody can write to /proc
    except OSError:
        state = f"{folder} cannot be written, so texts are embedded again each time"
        return [Diagnosis("embedding cache", state, "warning", "set AAMC_CACHE to a folder that can")]
    size_mb = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    return [Diagnosis("embedding cache", f"{folder}, {size_mb:,.0f} MB")]
