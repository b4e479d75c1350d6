"""What experiments on several datasets and seeds have in common."""

from __future__ import annotations

from aamc_bench.datasets import job_key, labels


def test_a_job_is_found_by_the_place_of_its_dataset_and_its_seed() -> None:
    assert job_key(2, "llmrouter:../data/My Set/", 7) == "2-llmrouter-..-data-My-Set-seed7"
    assert job_key(1, "synthetic", 0, "50", "all rows") == "1-synthetic-seed0-50-all-rows"


def test_datasets_have_short_names_that_differ() -> None:
    assert labels(["synthetic", "embedllm:data/embedllm", "llmrouter:a/b/", "routellm:x/mmlu"]) == {
        "synthetic": "synthetic",
        "embedllm:data/embedllm": "embedllm",
        "llmrouter:a/b/": "llmrouter:b",
        "routellm:x/mmlu": "routellm:mmlu",
    }
    assert labels(["outcomes:a/rows", "outcomes:b/rows"]) == {"outcomes:a/rows": "outcomes:a/rows", "outcomes:b/rows": "outcomes:b/rows"}
