"""Near-duplicates in published data: there are some, and no task is one of them."""

from collections import Counter
from pathlib import Path

import pytest
from aamc_datasets.published.llmrouter import LLMRouter
from aamc_datasets.published.routellm import RouteLLM
from aamc_datasets.published.routerarena import RouterArena
from aamc_experiments.data import Groups

from aamc_sdk import DatasetFormat, Services

pytestmark = pytest.mark.one_python


@pytest.mark.parametrize(
    ("reader", "folder", "least", "most"),
    [(LLMRouter, "llmrouter", 20, 100), (RouteLLM, "routellm", 100, 400), (RouterArena, "routerarena", 0, 10)],
)
def test_near_duplicates_are_pairs_and_passages_not_whole_tasks(
    published: Path, services: Services, reader: type[DatasetFormat], folder: str, least: int, most: int
) -> None:
    dataset = reader(reader.Config(), services).read(str(published / folder))
    assert not isinstance(dataset, dict)
    groups = Counter(Groups.of(dataset).names(dataset))
    assert max(groups.values()) <= 5
    assert least <= sum(size for size in groups.values() if size > 1) <= most
