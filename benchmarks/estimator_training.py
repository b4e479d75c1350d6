"""Time of training the estimator, relative to its encoder's forward pass over the same texts: prints JSON.

``OMP_NUM_THREADS=1 python benchmarks/estimator_training.py --preset full`` trains ``tce`` as the main job does, from an empty cache:
embeddings, heads and cross-fitting. The forward pass is torch's, over the same tokenized texts sorted by length. Times are CPU times
of all threads together.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from aamc_experiments.run_folder import Goal
from aamc_experiments.settings import read_settings
from aamc_experiments.training import Experiment
from aamc_tce.config import TCEConfig
from aamc_tce.encoders.embedder import BATCH_SIZE
from aamc_tce.encoders.torch_encoder import TorchEncoder
from speed.clock import cpu_s

from aamc_sdk import get_plugin_manager
from aamc_sdk.config import configure
from aamc_sdk.interfaces import NoProgress


def training(preset: str, seed: int, folder: Path) -> tuple[float, list[str]]:
    """Return the CPU seconds of a training, and the texts that it embeds."""
    settings = read_settings({"router": "greedy", "estimator": "tce", "preset": preset, "seed": seed})
    experiment = Experiment(settings, get_plugin_manager(), folder / "run", NoProgress(), goal=Goal.ESTIMATOR)
    world = experiment.begin()
    took = cpu_s(lambda: experiment.estimator(world))
    return took, [query.text for split in ("train", "validation") for query in world.splits[split].queries]


def forward(config: TCEConfig, texts: Sequence[str]) -> float:
    """Return the CPU seconds of the model's forward pass over texts."""
    encoder = TorchEncoder("bundled", layers=config.layers, max_length=config.max_length, device=torch.device("cpu"))
    tokens = [torch.tensor(ids) for ids in sorted(encoder.tokenize(texts), key=len)]
    batches = [tokens[start : start + BATCH_SIZE] for start in range(0, len(tokens), BATCH_SIZE)]
    padded = [torch.nn.utils.rnn.pad_sequence(batch, batch_first=True) for batch in batches]
    masks = [torch.nn.utils.rnn.pad_sequence([torch.ones_like(ids) for ids in batch], batch_first=True) for batch in batches]

    def passes() -> None:
        with torch.inference_mode():
            for ids, mask in zip(padded, masks, strict=True):
                encoder.model(input_ids=ids, attention_mask=mask)

    return cpu_s(passes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=("quick", "full"), default="quick")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AAMC_CACHE"] = folder
        trained, texts = training(args.preset, args.seed, Path(folder))
    bare = forward(configure(TCEConfig, {}, preset=args.preset), sorted(set(texts)))
    figures = {"training_s": round(trained, 1), "bare_forward_s": round(bare, 1), "times_forward": round(trained / bare, 2)}
    print(json.dumps({"preset": args.preset, "seed": args.seed, "texts": len(set(texts)), **figures}, indent=1))


if __name__ == "__main__":
    main()
