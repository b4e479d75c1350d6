"""Dataset format ``embedllm``: right and wrong answers of EmbedLLM (https://huggingface.co/datasets/RZ412/EmbedLLM, Apache-2.0).

A row says whether one model answered one question correctly. The files have no costs.
"""

from __future__ import annotations

import attrs

from aamc_datasets.columns import column_names, read_columns, require_columns
from aamc_datasets.published.score_table import PublishedFormat, from_rows
from aamc_datasets.recognition import hint, single_file
from aamc_sdk import Dataset, Prices

COLUMNS = {
    "question_id": ("question_id", "prompt_id"),
    "question": ("question", "prompt"),
    "model_id": ("model_name", "model_id"),
    "label": ("label",),
}
"""Names of each column in the files, first match first. A published ``model_id`` is a number that comes with ``model_name``."""
CATEGORY = "category"
ONE_DOLLAR = Prices(1.0, 1.0)


class EmbedLLM(PublishedFormat):
    """EmbedLLM's answers; questions that a model did not answer are unknown cells."""

    def read(self, path: str) -> Dataset:
        """Read a CSV or Parquet file. Without the option ``prices``, all candidates have the same price.

        Raises:
            DataError: The file is missing, has another format or an invalid row, or only some candidates have prices.
        """
        file = single_file(path, "embedllm")
        found = column_names(file)
        names = {column: next((name for name in known if name in found), column) for column, known in COLUMNS.items()}
        require_columns(file, names.values(), found, hint(file, "embedllm"))
        categories = [CATEGORY] if CATEGORY in found else []
        columns = read_columns(file, (*names.values(), *categories))
        texts = columns[names["question"]].texts()
        table = from_rows(
            source=file,
            keys=columns[names["question_id"]].names(),
            texts=texts,
            categories=columns[CATEGORY].labels() if categories else [""] * len(texts),
            candidates=columns[names["model_id"]].names(),
            quality=self.config.clipped(columns[names["label"]].scores(self.config.strict), file),
        )
        if self.config.prices:
            return table.dataset(self.config, str(file))
        dataset = table.dataset(self.config, str(file), dict.fromkeys(table.candidates, ONE_DOLLAR))
        unpriced = "no prices are published; every candidate is taken to cost 1 USD per million tokens, so cost does not distinguish candidates"
        return attrs.evolve(dataset, cost_note=f"{dataset.cost_note}; {unpriced}")
