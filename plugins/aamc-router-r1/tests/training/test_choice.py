"""Router ``router-r1-choice``: a language model's probability of naming a candidate, trained on outcomes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from aamc_router_r1.config import ChoiceOptions
from aamc_router_r1.protocol import render_prompt
from aamc_router_r1.single.choice import ChoiceRouter
from aamc_router_r1.training.choice import BEGUN, ChoicePolicy, distinct, load, loss
from aamc_router_r1.training.rollout import plain_ids
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import Lfm2Config, Lfm2ForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from aamc_sdk import Candidate, Dataset, Outcomes, Pool, Query, Training
from aamc_sdk.errors import CheckpointError, ConfigError, DataError, PluginError
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.routing import build_request
from aamc_sdk.serving import DefaultSettings, make_services
from aamc_sdk.testing import assert_conforms
from aamc_sdk.types import Floats, PoolState

POOL = Pool([Candidate("maths-large", "algebra"), Candidate("maths-small", "sums"), Candidate("law", "contracts")])
WORDS = r"\w+|[^\w\s]"
QUALITY_ONLY = np.array([1.0, 0.0, 0.0])
SUBJECTS = {"Solve equation {} of algebra.": (1.0, 0.0, 0.4), "Read clause {} of the contract.": (0.0, 0.4, 1.0)}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small untrained Llama, whose tokens are the words of prompts."""
    folder = tmp_path_factory.mktemp("tiny-llama")
    read = " ".join([render_prompt(" ".join(SUBJECTS), POOL, {}, rounds=1), BEGUN, "newcomer a b"])
    vocabulary = {token: place for place, token in enumerate(["[PAD]", "[EOS]", "[UNK]", *sorted(set(re.findall(WORDS, read)))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(WORDS), "isolated")])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", eos_token="[EOS]", unk_token="[UNK]")
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(vocabulary), max_position_embeddings=4096, initializer_range=0.1, **shape)).save_pretrained(folder)
    return folder


def options(folder: Path, **changed: Any) -> ChoiceOptions:
    given = {"batch_size": 16, "micro_batch_size": 16, "warm_start_epochs": 6.0, "epochs": 4.0, "learning_rate": 0.003, **changed}
    return ChoiceOptions(model=str(folder), **given)


def table(rows: int, first: int = 0) -> Dataset:
    """Return a table in which one candidate answers all equations, and another all clauses."""
    chosen = [list(SUBJECTS.items())[row % 2] for row in range(rows)]
    quality = np.array([known for _, known in chosen])
    cost, latency = np.full_like(quality, 0.001), np.full_like(quality, np.nan)
    queries = [Query(text.format(first + row)) for row, (text, _) in enumerate(chosen)]
    return Dataset(queries, POOL, Outcomes(quality, cost, latency), source="specialists")


def untrained(config: ChoiceOptions, seed: int = 0) -> ChoiceRouter:
    return ChoiceRouter(config, make_services(POOL, get_plugin_manager(), DefaultSettings(seed=seed)))


def trained(dataset: Dataset, config: ChoiceOptions, **training: Any) -> ChoiceRouter:
    router = untrained(config)
    assert dataset.outcomes is not None
    router.services.reward.fit(dataset.outcomes)
    router.train(Training(dataset=dataset, request=build_request(dataset.queries, POOL, QUALITY_ONLY), **training))
    return router


def utilities(router: ChoiceRouter, texts: list[str], pool: Pool = POOL) -> Floats:
    return router.score(build_request([Query(text) for text in texts], pool, QUALITY_ONLY)).utility


@pytest.fixture(scope="module")
def specialist(tiny: Path) -> ChoiceRouter:
    return trained(table(80), options(tiny))


def policy_of(folder: Path, **changed: Any) -> ChoicePolicy:
    return load(options(folder, **changed), str(folder), "cpu")


def test_it_conforms(tiny: Path) -> None:
    assert_conforms("router", "router-r1-choice", get_plugin_manager(), {"model": str(tiny), "rows": 16, "question_characters": 200})


def test_probabilities_are_those_of_the_model_writing_each_name_alone(tiny: Path) -> None:
    policy = policy_of(tiny, micro_batch_size=3)
    texts = ["Solve 2 x = 4.", "Read a clause of a long contract about the sale of a house.", "Who?", "Solve"]
    found = policy.scores(texts, POOL)
    names = distinct([plain_ids(policy.tokenizer, f" {name}:") for name in POOL.names])
    for text, row in zip(texts, found, strict=True):
        prompt = policy._prompt(text, POOL)
        alone = []
        for name in names:
            logits = policy.model(torch.tensor([prompt + name])).logits[0].log_softmax(-1).detach()
            alone.append(sum(float(logits[len(prompt) - 1 + place, token]) for place, token in enumerate(name)))
        assert row == pytest.approx(torch.tensor(alone).log_softmax(0).tolist(), abs=1e-4)


def test_a_name_counts_up_to_where_it_differs() -> None:
    assert distinct([[1, 2, 3, 9], [1, 2, 4, 9], [1, 2, 3, 5, 9]]) == [[1, 2, 3, 9], [1, 2, 4], [1, 2, 3, 5]]
    assert distinct([[7, 9]]) == [[7]]


def test_a_long_question_is_read_from_both_ends(tiny: Path) -> None:
    policy = policy_of(tiny, question_characters=20)
    written = policy.tokenizer.decode(policy._prompt("a " * 50 + "algebra " + "b " * 50, POOL)).replace(" ", "")
    assert "Question:aaaaa...bbbbb" in written
    assert written.endswith(BEGUN.replace(" ", "").replace("\n", ""))


def test_it_learns_which_candidate_answers_which_question(specialist: ChoiceRouter) -> None:
    held_out = table(40, first=100)
    chosen = utilities(specialist, [query.text for query in held_out.queries]).argmax(axis=1)
    assert np.mean(chosen == 2 * (np.arange(40) % 2)) > 0.9


@pytest.mark.parametrize("stage", [{"warm_start_epochs": 0.0, "epochs": 20.0, "entropy": 0.1}, {"warm_start_epochs": 10.0, "epochs": 0.0}])
def test_each_stage_learns_alone(tiny: Path, stage: dict[str, float]) -> None:
    router = trained(table(80), options(tiny, **stage))
    chosen = utilities(router, [query.text for query in table(40, first=100).queries]).argmax(axis=1)
    assert np.mean(chosen == 2 * (np.arange(40) % 2)) > 0.9


def test_adapters_learn_too_and_are_merged(tiny: Path, tmp_path: Path) -> None:
    router = trained(table(80), options(tiny, lora_rank=8, learning_rate=0.01, precision="bf16"))
    texts = [query.text for query in table(40, first=100).queries]
    assert np.mean(utilities(router, texts).argmax(axis=1) == 2 * (np.arange(40) % 2)) > 0.9
    router.save(tmp_path)
    loaded = untrained(options(tiny, precision="bf16"))
    loaded.load(tmp_path)
    assert utilities(loaded, texts) == pytest.approx(utilities(router, texts), abs=1e-3)


def test_the_policy_gradient_is_that_of_the_expected_reward() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 3, requires_grad=True)
    reward = torch.tensor([[0.2, 0.9, 0.5]])
    loss(logits, reward, warm=False, entropy=0.0).backward()
    probability = logits.detach().softmax(dim=1)
    assert logits.grad is not None
    assert (-logits.grad).tolist()[0] == pytest.approx((probability * (reward - (probability * reward).sum())).tolist()[0])


def test_an_unknown_outcome_is_left_out_of_both_losses() -> None:
    logits, reward = torch.tensor([[0.3, -1.0, 2.0]]), torch.tensor([[0.2, 0.9, torch.nan]])
    for warm in (True, False):
        whole, without = loss(logits, reward, warm, 0.1), loss(logits[:, :2], reward[:, :2], warm, 0.1)
        assert float(whole) == pytest.approx(float(without))


def test_equally_good_candidates_share_the_warm_start() -> None:
    logits, reward = torch.zeros(1, 3, requires_grad=True), torch.tensor([[1.0, 1.0, 0.0]])
    loss(logits, reward, warm=True, entropy=0.0).backward()
    assert logits.grad is not None
    assert logits.grad.tolist()[0] == pytest.approx([1 / 3 - 1 / 2, 1 / 3 - 1 / 2, 1 / 3])


def test_the_same_seed_gives_the_same_policy(tiny: Path) -> None:
    asked = ["Solve equation 3 of algebra."]
    first, again = (utilities(trained(table(32), options(tiny, epochs=1.0, warm_start_epochs=1.0)), asked) for _ in range(2))
    assert (first == again).all()


def test_a_saved_policy_scores_the_same(specialist: ChoiceRouter, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "resume").mkdir()  # of a training that still runs
    specialist.save(tmp_path)
    (tmp_path / "resume").rmdir()
    loaded = untrained(options(tiny), seed=1)
    loaded.load(tmp_path)
    asked = ["Read clause 7 of the contract.", "What?"]
    assert (utilities(loaded, asked) == utilities(specialist, asked)).all()


def test_an_interrupted_training_ends_like_one_that_was_not(tiny: Path, tmp_path: Path) -> None:
    config = options(tiny, epochs=2.0, warm_start_epochs=2.0, save_every=3)

    class Stop(Exception):
        pass

    class Interrupting:
        steps = 0

        def start(self, what: str, total: int) -> None:
            pass

        def advance(self, steps: int = 1, **figures: float) -> None:
            self.steps += steps
            if self.steps == 8:
                raise Stop

        def say(self, line: str) -> None:
            pass

    with pytest.raises(Stop):
        trained(table(48), config, folder=tmp_path / "killed", progress=Interrupting())
    resumed = trained(table(48), config, folder=tmp_path / "killed", resume=True)
    whole = trained(table(48), config, folder=tmp_path / "whole")
    asked = ["Solve equation 3 of algebra.", "Read clause 7 of the contract."]
    assert (utilities(resumed, asked) == utilities(whole, asked)).all()


def test_sampling_draws_from_the_policy_over_the_allowed_candidates(tiny: Path) -> None:
    router = trained(table(32), options(tiny, sample=True, epochs=0.0, warm_start_epochs=1.0))
    request = build_request([Query("Solve equation 3 of algebra.")], POOL, QUALITY_ONLY, state=PoolState(unavailable={"maths-small"}))
    scores = router.score(request)
    assert scores.probabilities is not None
    assert scores.probabilities[0, 1] == 0
    assert scores.probabilities.sum() == pytest.approx(1)
    difference = np.log(scores.probabilities[0, 0] / scores.probabilities[0, 2])
    assert difference == pytest.approx(scores.utility[0, 0] - scores.utility[0, 2])


def test_a_candidate_of_another_pool_is_scored(specialist: ChoiceRouter) -> None:
    pool = Pool([Candidate("newcomer", "contracts"), *POOL])
    assert np.isfinite(utilities(specialist, ["Read clause 7 of the contract."], pool)).all()


def test_only_some_rows_are_learned_from(tiny: Path) -> None:
    router, dataset = untrained(options(tiny, rows=5)), table(40)
    assert dataset.outcomes is not None
    router.services.reward.fit(dataset.outcomes)
    metrics = router.train(Training(dataset=dataset, request=build_request(dataset.queries, POOL, QUALITY_ONLY)))
    assert metrics["rows"] == 5


def test_errors_say_what_to_do(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="aamc train --router router-r1-choice"):
        utilities(untrained(options(tiny)), ["What?"])
    no_outcomes = attrs.evolve(table(4), outcomes=None)
    training = Training(dataset=no_outcomes, request=build_request(no_outcomes.queries, POOL, QUALITY_ONLY))
    with pytest.raises(DataError, match="specialists has none; use a dataset with outcomes"):
        untrained(options(tiny)).train(training)
    with pytest.raises(ConfigError, match="is not a causal language model"):
        trained(table(4), options(tmp_path / "nowhere"))
    with pytest.raises(CheckpointError, match=r"files\.json"):
        untrained(options(tiny)).load(tmp_path)


def test_a_model_with_other_layers_is_refused(tiny: Path, tmp_path: Path) -> None:
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4}
    Lfm2ForCausalLM(Lfm2Config(vocab_size=99, layer_types=["conv", "full_attention"], **shape)).save_pretrained(tmp_path)
    policy_of(tiny).tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="layers of the kind 'conv'"):
        trained(table(4), options(tmp_path))
