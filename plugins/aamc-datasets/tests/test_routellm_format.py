"""Format ``routellm``: the published files, and small ones made here."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aamc_datasets.published.routellm import RouteLLM
from aamc_datasets.published.score_table import CostOptions

from aamc_sdk import Dataset, Services
from aamc_sdk.errors import DataError

WEAK, STRONG = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
HEADER = f"prompt,{WEAK},{STRONG}\n"
Write = Callable[[str, str], Path]


def read(path: Path, services: Services, **options: Any) -> Dataset:
    return RouteLLM(CostOptions(**options), services).read(str(path))


def turn(number: int, model: str, score: float, question: int = 81) -> str:
    line = {"question_id": question, "model": model, "turn": number, "score": score, "category": "writing", "turns": ["First ask.", "Then ask."]}
    return json.dumps(line) + "\n"


def test_true_and_false_become_one_and_zero_and_the_subject_the_category(write: Write, services: Services) -> None:
    file = write("mmlu_astronomy.csv", HEADER + '"What, is\nit?",True,False\n' + "x" * 8 + ",False,True\n")
    dataset = read(file, services)
    assert dataset.outcomes is not None
    assert dataset.pool is not None
    assert dataset.pool.names == (WEAK, STRONG)
    assert dataset.queries[0].text == "What, is\nit?"
    assert list(dataset.labels.category) == ["astronomy", "astronomy"]  # type: ignore[arg-type]  # labelled
    np.testing.assert_array_equal([[1, 0], [0, 1]], dataset.outcomes.quality)
    np.testing.assert_allclose([(2 + 256) * 0.24 / 1e6, (2 + 256) * 24.7 / 1e6], dataset.outcomes.cost_usd[1])
    assert dataset.cost_note.endswith("prices are those of RouteLLM's paper")


def test_responses_are_no_models(write: Write, services: Services) -> None:
    file = write("gsm8k_responses.csv", f"prompt,{STRONG},{STRONG}_response\nq,True,Because.\n")
    dataset = read(file, services)
    assert dataset.pool is not None
    assert dataset.pool.names == (STRONG,)
    assert list(dataset.labels.category) == ["gsm8k"]  # type: ignore[arg-type]  # labelled


def test_responses_give_lengths_and_costs_of_answers(write: Write, services: Services) -> None:
    write("gsm8k_responses.csv", f"prompt,{STRONG},{WEAK},{STRONG}_response\n{'x' * 8},True,True,{'y' * 40}\n")
    folder = write("mmlu_astronomy.csv", HEADER + "x" * 8 + ",True,False\n").parent
    outcomes = read(folder, services).outcomes
    assert outcomes is not None
    np.testing.assert_array_equal([[10, np.nan], [np.nan, np.nan]], outcomes.output_tokens)
    np.testing.assert_allclose([(2 + 10) * 24.7 / 1e6, (2 + 256) * 24.7 / 1e6], outcomes.cost_usd[:, 0])


def test_a_folder_is_read_at_any_depth_and_lacking_models_are_unknown(tmp_path: Path, services: Services) -> None:
    for name, content in (("b/c/deep.csv", HEADER + "q,True,False\n"), ("a/flat.csv", f"prompt,{STRONG}\nr,True\n")):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(content)
    dataset = read(tmp_path, services)
    assert dataset.outcomes is not None
    assert dataset.pool is not None
    assert [query.text for query in dataset.queries] == ["r", "q"]
    assert dataset.pool.names == (STRONG, WEAK)
    np.testing.assert_array_equal([[1, np.nan], [0, 1]], dataset.outcomes.quality)
    np.testing.assert_array_equal(np.isnan(dataset.outcomes.known_quality), np.isnan(dataset.outcomes.cost_usd))


def test_a_dialogue_is_worth_the_mean_of_its_turns_and_routed_by_its_first(write: Write, services: Services) -> None:
    file = write("mt_bench.jsonl", turn(1, STRONG, 10) + turn(2, STRONG, 7) + turn(1, WEAK, 1) + turn(1, STRONG, 4, question=82))
    dataset = read(file, services)
    assert dataset.outcomes is not None
    assert [query.text for query in dataset.queries] == ["First ask.", "First ask."]
    assert list(dataset.labels.category) == ["writing", "writing"]  # type: ignore[arg-type]  # labelled
    np.testing.assert_allclose([[0.85, 0.1], [0.4, np.nan]], dataset.outcomes.known_quality)


def test_prices_can_be_given_and_are_needed_for_models_that_the_paper_does_not_price(write: Write, services: Services) -> None:
    file = write("own.csv", "prompt,mine\nxxxx,True\n")
    with pytest.raises(
        DataError, match=r"own\.csv: candidate 'mine' has no price \(1 of 1 have none\).* aamc data convert: --set 'dataset.prices=\{\"mine\""
    ):
        read(file, services)
    dataset = read(file, services, prices={"mine": {"input": 1.0, "output": 2.0}})
    assert dataset.outcomes is not None
    np.testing.assert_allclose([[(1 * 1.0 + 256 * 2.0) / 1e6]], dataset.outcomes.cost_usd)
    assert "paper" not in dataset.cost_note


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "is empty; give a header"),
        ("a.csv", HEADER, "a header but no row"),
        ("a.csv", "prompt\nq\n", "no column of a model besides 'prompt'"),
        ("a.csv", "promt,m\nq,True\n", r"no column 'prompt'; did you mean 'promt'\? \(it has: m, promt\)"),
        ("a.csv", HEADER + "q,True,yes\n", f"column '{STRONG}', row 1: it must be a number from 0 to 1, not 'yes'; a model's column holds True"),
        ("a.csv", HEADER + "q,True,True\nr,7.5,True\n", f"column '{WEAK}', row 2: it must be a number from 0 to 1, not 7.5"),
        ("a.csv", HEADER + "q,True\n", "Expected 3 columns, got 2"),
        ("a.csv", HEADER + ",True,True\n", "column 'prompt', row 1 must be a text that is not empty, not ''"),
        ("a.csv", f"prompt,{WEAK},{WEAK}\nq,True,True\n", f"more than one column {WEAK}"),
        ("a.csv", "sample_id,prompt,eval_name,m,m|total_cost\n1,q,e,1,0.1\n", "looks like format routerbench"),
        ("a.csv", "text,complexity,category,tool_use\na,1,b,0\n", "no column 'prompt'.*looks like format synthetic"),
        ("a.csv", f"prompt,{WEAK},\nq,True,\n", r"a\.csv: a candidate's name must not be empty"),
        ("a.txt", "", r"neither \.csv nor \.jsonl"),
        ("mt_bench.jsonl", "", "is empty"),
        ("mt_bench.jsonl", "3\n", "line 1: must be an object with category"),
        ("mt_bench.jsonl", turn(1, STRONG, 85), "line 1: score must be a number from 1 to 10, not 85"),
        ("mt_bench.jsonl", turn(1, STRONG, -10), "line 1: score must be a number from 1 to 10, not -10"),
        ("mt_bench.jsonl", turn(1, "", 5), "line 1: 'model' must be a text that is not empty, not ''"),
        ("mt_bench.jsonl", turn(1, STRONG, 5) + '{"question_id": 1}\n', r"line 2: has no 'model'.*\(it has: question_id\)"),
        ("mt_bench.jsonl", turn(1, STRONG, 5).replace('["First ask.", "Then ask."]', '"First"'), "'turns' must be a list of texts, not 'First'"),
        ("mt_bench.jsonl", turn(1, STRONG, 5) + turn(1, WEAK, 5).replace("First", "Other"), "line 2: question_id 81 .* a unique id$"),
    ],
)
def test_bad_files_are_refused_in_one_line(write: Write, services: Services, name: str, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read(write(name, content), services)
    assert "\n" not in str(error.value)


def test_a_folder_of_nothing_or_of_another_format_is_refused(tmp_path: Path, services: Services) -> None:
    with pytest.raises(DataError, match=r"has no \.csv file and no mt_bench\.jsonl$"):
        read(tmp_path, services)
    (tmp_path / "m.jsonl").write_text('{"llm_selected": "m", "evaluation_result": {}}')
    with pytest.raises(DataError, match="looks like format routerarena: --dataset routerarena:"):
        read(tmp_path, services)


def test_the_published_files_are_read_whole(services: Services, published: Path) -> None:
    dataset = read(published / "routellm", services)
    assert dataset.outcomes is not None
    assert dataset.pool is not None
    assert len(dataset) == 9_263 + 940
    assert dataset.pool.names == (WEAK, STRONG)
    assert dataset.complete.all()
    rows = Counter(dataset.labels.category)
    assert (len(rows), rows["gsm8k"]) == (45 + 1, 940)
    np.testing.assert_allclose([6865 / 10203, 8292 / 10203], dataset.outcomes.means[:, 0])
