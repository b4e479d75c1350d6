"""Format ``arena``: votes become comparisons."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from aamc_datasets.published.arena_votes import ArenaVotes
from aamc_experiments.data import split_rows

from aamc_sdk import Dataset, Experience, Services
from aamc_sdk.errors import ConfigError, DataError

HEADER = "model_a,model_b,prompt,winner\n"
Write = Callable[[str, str], Path]


@pytest.fixture
def reader(services: Services) -> ArenaVotes:
    return ArenaVotes(ArenaVotes.Config(), services)


def votes(dataset: Dataset) -> list[tuple[str, str | None, str | None, bool]]:
    assert isinstance(dataset.experience, Experience)
    asked = {decision.id: query.text for query, decision in zip(dataset.experience.queries, dataset.experience.decisions, strict=True)}
    return [(asked[vote.decision_id], vote.candidate, vote.over, vote.tie) for vote in dataset.experience.feedback]


def test_votes_say_who_beat_whom(write: Write, reader: ArenaVotes) -> None:
    rows = "x,y,one,model_a\nx,z,two,model_b\ny,x,three,tie\ny,z,four,tie (bothbad)\n"
    dataset = reader.read(str(write("votes.csv", HEADER + rows)))
    assert dataset.pool is not None
    assert dataset.pool.names == ("x", "y", "z")
    assert dataset.outcomes is None
    assert votes(dataset) == [("one", "x", "y", False), ("two", "z", "x", False), ("three", "y", "x", True), ("four", "y", "z", True)]
    assert dataset.experience is not None
    assert [decision.candidate for decision in dataset.experience.decisions] == ["x", "x", "y", "y"]
    assert np.isnan([decision.propensity for decision in dataset.experience.decisions]).all()


def test_a_winner_may_stand_in_three_columns(write: Write, reader: ArenaVotes) -> None:
    header = "id,model_a,model_b,prompt,response_a,response_b,winner_model_a,winner_model_b,winner_tie\n"
    dataset = reader.read(str(write("train.csv", header + "1,x,y,one,r,s,0,1,0\n2,x,y,two,r,s,1,0,0\n3,x,y,three,r,s,0,0,1\n")))
    assert votes(dataset) == [("one", "y", "x", False), ("two", "x", "y", False), ("three", "x", "y", True)]


def test_of_a_dialogue_the_first_turn_is_asked(write: Write, reader: ArenaVotes) -> None:
    rows = """x,y,"[""First?"", ""Then?""]",tie\nx,y,"[half a list",tie\nx,y,[],tie\nx,y,"[""cut \\ud83d""]",tie\n"""
    dataset = reader.read(str(write("votes.csv", HEADER + rows)))
    assert [query.text for query in dataset.queries] == ["First?", "[half a list", "[]", "cut ?"]


def test_a_split_has_the_votes_on_its_own_prompts_alone(write: Write, reader: ArenaVotes) -> None:
    dataset = reader.read(str(write("votes.csv", HEADER + "".join(f"x,y,prompt {n},model_a\n" for n in range(50)))))
    rows = split_rows([query.text for query in dataset.queries], seed=0)
    asked = {name: {text for text, *_ in votes(dataset.take(part))} for name, part in rows.items()}
    assert sum(map(len, asked.values())) == 50
    assert asked["test"] == {dataset.queries[row].text for row in rows["test"]}


def test_models_that_count_as_one_candidate_share_its_name(write: Write, services: Services) -> None:
    rows = "x-1,y,one,model_a\nx-1,x-2,two,tie\nz,x-2,three,model_b\n"
    reader = ArenaVotes(ArenaVotes.Config(candidates={"x": ["x-1", "x-2"]}), services)
    dataset = reader.read(str(write("votes.csv", HEADER + rows)))
    assert dataset.pool is not None
    assert dataset.pool.names == ("x", "y", "z")
    assert votes(dataset) == [("one", "x", "y", False), ("three", "x", "z", False)]


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ({"x": ["x-1"]}, "no vote is on such a model; did you mean 'x-11'"),
        ({"x": ["x-11", "y"]}, "no vote is between two candidates"),
    ],
)
def test_candidates_that_fit_no_vote_are_refused(write: Write, services: Services, candidates: dict[str, list[str]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ArenaVotes(ArenaVotes.Config(candidates=candidates), services).read(str(write("votes.csv", HEADER + "x-11,y,one,tie\n")))


def test_a_model_counts_as_one_candidate() -> None:
    with pytest.raises(ConfigError, match="in several places: m"):
        ArenaVotes.Config(candidates={"x": ["m"], "y": ["m"]})


def test_a_prompt_that_only_looks_like_turns_is_a_text(write: Write, reader: ArenaVotes) -> None:
    prompts = ["[1", "[]", "[" * 100_000]
    dataset = reader.read(str(write("votes.csv", HEADER + "".join(f"x,y,{prompt},tie\n" for prompt in prompts))))
    assert prompts == [query.text for query in dataset.queries]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + "x,y,one,x\n", r"row 1: winner must be one of .*model_a.*, not 'x'"),
        (HEADER + "x,y,one,tie\nx,x,two,tie\n", "row 2: 'x' is compared with itself"),
        (HEADER + "x,,one,tie\n", "column 'model_b', row 1 must be a text that is not empty"),
        ("model_a,model_b,prompt\nx,y,one\n", r"no column 'winner' \(it has: model_a, model_b, prompt\)"),
        ("model_a,model_b,prompt,winner_model_a,winner_model_b,winner_tie\nx,y,one,1,1,0\n", "row 1: exactly one of winner_model_a, .* must be 1"),
        ("question_id,question,model_id,label\n1,q,m,1\n", "no column 'model_a'.*looks like format embedllm"),
    ],
)
def test_bad_votes_are_refused(write: Write, reader: ArenaVotes, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        reader.read(str(write("votes.csv", content)))
