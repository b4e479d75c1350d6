"""Dataset format ``routerbench``: the outcomes of RouterBench (https://huggingface.co/datasets/withmartian/routerbench).

Columns: ``sample_id``, ``prompt``, ``eval_name``, and for each model its score and ``<model>|total_cost`` in USD, and optionally
``<model>|model_response``, whose tokens are estimated at 4 characters each. The published
file is a pickle, which can run code when it is read, so it must be converted first. Its page names no licence.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from aamc_datasets.columns import answer_tokens, column_names, read_columns, require_columns
from aamc_datasets.published.score_table import PublishedFormat, ScoreTable
from aamc_datasets.recognition import hint, single_file
from aamc_sdk import Dataset
from aamc_sdk.errors import DataError
from aamc_sdk.messages import one_of

logger = logging.getLogger(__name__)
PROMPT, CATEGORY, COST, RESPONSE = "prompt", "eval_name", "|total_cost", "|model_response"
KNOWN = ("sample_id", PROMPT, CATEGORY, "oracle_model_to_route_to")
"""Columns that are not scores."""
PICKLES = (".pkl", ".pickle")


class RouterBench(PublishedFormat):
    """RouterBench's scores and measured costs; the name of the benchmark is the category."""

    def read(self, path: str) -> Dataset:
        """Read a CSV or Parquet file.

        Raises:
            DataError: The file is missing, a pickle, of another format, or contains an invalid row.
        """
        if path.endswith(PICKLES):
            raise DataError(_conversion(Path(path)))
        file = single_file(path, "routerbench")
        found, advice = column_names(file), hint(file, "routerbench")
        require_columns(file, ("sample_id", PROMPT, CATEGORY), found, advice)
        models = [name.removesuffix(COST) for name in found if name.endswith(COST)]
        if not models:
            raise DataError(f"{file} has no column '<model>{COST}'{advice}")
        require_columns(file, models, found, f"; each '<model>{COST}' needs the model's score too")
        if unpriced := [name for name in found if "|" not in name and name not in (*KNOWN, *models)]:
            logger.warning("%s: columns %s are left out, because they have no '<model>%s'", file, one_of(unpriced), COST)
        answers = [model + RESPONSE for model in models if model + RESPONSE in found]
        columns = read_columns(file, (PROMPT, CATEGORY, *models, *(model + COST for model in models), *answers))
        texts = columns[PROMPT].texts()
        table = ScoreTable(
            texts=texts,
            categories=columns[CATEGORY].labels(),
            candidates=models,
            quality=self.config.clipped(np.stack([columns[model].scores(self.config.strict) for model in models], axis=1), file),
            cost_usd=np.stack([columns[model + COST].amounts() for model in models], axis=1),
            output_tokens=answer_tokens(columns, [model + RESPONSE for model in models], len(texts)),
        )
        return table.dataset(self.config, str(file))


def _conversion(file: Path) -> str:
    code = f"import pandas; pandas.read_pickle('{file}').to_csv('{file.with_suffix('.csv')}', index=False)"
    return f'{file} is a pickle, which can run any code when it is read; if you trust it, convert it once: python -c "{code}"'
