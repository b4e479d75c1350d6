"""Router ``router-r1-choice``: a language model's probability of naming a candidate, trained on outcomes."""

from __future__ import annotations

import itertools
import math
import random
import re
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from aamc_router_r1.config import ChoiceOptions
from aamc_router_r1.protocol import render_prompt
from aamc_router_r1.single.choice_policy import TURN_START, ChoicePolicy, distinct, load
from aamc_router_r1.single.choice_router import ChoiceRouter
from aamc_router_r1.training.choice_training import _arguments, loss, order_of_rows
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    GPT2Config,
    GPTJConfig,
    Lfm2Config,
    Lfm2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    PreTrainedTokenizerFast,
)

from aamc_sdk import Candidate, Dataset, Outcomes, Pool, Query, Training
from aamc_sdk.config import ServingSettings
from aamc_sdk.errors import AamcError, CheckpointError, ConfigError, DataError, PluginError
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.routing import build_request
from aamc_sdk.serving import make_services
from aamc_sdk.testing import assert_conforms
from aamc_sdk.types import Floats, PoolState

POOL = Pool([Candidate("maths-large", "algebra"), Candidate("maths-small", "sums"), Candidate("law", "contracts")])
WORDS = r"\w+|[^\w\s]"
QUALITY_ONLY = np.array([1.0, 0.0, 0.0])
SHAPE: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.1,
}  # fmt: skip
SUBJECTS = {"Solve equation {} of algebra.": (1.0, 0.0, 0.4), "Read clause {} of the contract.": (0.0, 0.4, 1.0)}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small untrained Llama, whose tokens are the words of prompts."""
    folder = tmp_path_factory.mktemp("tiny-llama")
    read = " ".join([render_prompt(" ".join(SUBJECTS), POOL, {}, rounds=1), TURN_START, "newcomer a b"])
    vocabulary = {token: place for place, token in enumerate(["[PAD]", "[EOS]", "[UNK]", *sorted(set(re.findall(WORDS, read)))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(WORDS), "isolated")])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", eos_token="[EOS]", unk_token="[UNK]")
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(vocab_size=len(vocabulary), max_position_embeddings=4096, **SHAPE)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def bytewise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small untrained Llama with a chat template, whose tokens are groups of bytes and two special ones."""
    folder = tmp_path_factory.mktemp("bytewise-llama")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=2000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator([render_prompt("", POOL, {}, rounds=1)], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", additional_special_tokens=["<|im_start|>"])
    fast.chat_template = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
    fast.save_pretrained(folder)
    LlamaForCausalLM(LlamaConfig(vocab_size=len(fast), max_position_embeddings=4096, **SHAPE)).save_pretrained(folder)
    return folder


def options(folder: Path | str, **changed: Any) -> ChoiceOptions:
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
    return ChoiceRouter(config, make_services(POOL, get_plugin_manager(), ServingSettings(seed=seed)))


def trained(dataset: Dataset, config: ChoiceOptions, **training: Any) -> ChoiceRouter:
    router = untrained(config)
    train(router, dataset, **training)
    return router


def train(router: ChoiceRouter, dataset: Dataset, **training: Any) -> Mapping[str, Any]:
    assert dataset.outcomes is not None
    router.services.reward.fit(dataset.outcomes)
    return router.train(Training(dataset=dataset, request=build_request(dataset.queries, POOL, QUALITY_ONLY), **training))


def utilities(router: ChoiceRouter, texts: list[str], pool: Pool = POOL) -> Floats:
    return router.score(build_request([Query(text) for text in texts], pool, QUALITY_ONLY)).utility


@pytest.fixture(scope="module")
def specialist(tiny: Path) -> ChoiceRouter:
    return trained(table(80), options(tiny))


def policy_of(folder: Path, **changed: Any) -> ChoicePolicy:
    return load(options(folder, **changed), str(folder), "cpu")


def test_it_conforms(bytewise: Path) -> None:
    assert_conforms("router", "router-r1-choice", get_plugin_manager(), {"model": str(bytewise), "rows": 16, "question_characters": 200})


def test_probabilities_are_those_of_the_model_writing_each_name_alone(tiny: Path) -> None:
    policy = policy_of(tiny, micro_batch_size=3)
    texts = ["Solve 2 x = 4.", "Read a clause of a long contract about the sale of a house.", "Who?", "Solve"]
    found = policy.scores(texts, POOL)
    frame = policy.frame(POOL)
    for rest, row in zip(policy._rests(texts, frame), found, strict=True):
        prompt, alone = [*frame.head, *rest], []
        for name in frame.names:
            logits = policy.model(torch.tensor([[*prompt, *name]])).logits[0].log_softmax(-1).detach()
            alone.append(sum(float(logits[len(prompt) - 1 + place, token]) for place, token in enumerate(name)))
        assert row == pytest.approx(torch.tensor(alone).log_softmax(0).tolist(), abs=1e-4)


def test_a_name_counts_up_to_where_it_differs() -> None:
    assert distinct([[1, 2, 3, 9], [1, 2, 4, 9], [1, 2, 3, 5, 9]], "abc") == [[1, 2, 3, 9], [1, 2, 4], [1, 2, 3, 5]]
    assert distinct([[7, 9]], "a") == [[7]]


def test_a_name_that_another_one_continues_can_still_be_chosen(bytewise: Path) -> None:
    pool = Pool([Candidate("llama3"), Candidate("llama3:70b"), Candidate("llama3:70b:q4")])
    names = policy_of(bytewise).frame(pool).names
    assert all(one[: len(other)] != list(other) for one, other in itertools.permutations(names, 2))


def test_names_that_a_tokenizer_cannot_tell_apart_are_refused(tiny: Path) -> None:
    with pytest.raises(ConfigError, match=r"'x' is the beginning of another candidate's name; rename it"):
        policy_of(tiny).frame(Pool([Candidate("x"), Candidate("y")]))  # both are unknown words


def test_bfloat16_does_not_round_the_differences_between_candidates_away(tiny: Path) -> None:
    torch.manual_seed(0)
    policy = policy_of(tiny, precision="bf16")
    batch = policy.batch(["Solve 2 x = 4.", "Who?"], policy.frame(POOL))
    with torch.no_grad():
        policy.model.get_output_embeddings().weight.mul_(30)  # the logits of large models are large
        hidden: list[torch.Tensor] = []
        policy.model.get_decoder().register_forward_hook(lambda _, __, made: hidden.append(made.last_hidden_state))
        found = policy.logits(policy.model, batch)
        written = policy.model.get_output_embeddings()(hidden[-1][:, batch["sources"]].float()).log_softmax(-1)
    tokens = written.gather(-1, batch["targets"].expand(2, -1)[..., None])[..., 0]
    expected = torch.zeros(2, len(POOL)).index_add(1, batch["owners"], tokens)
    assert torch.allclose(found, expected, atol=1e-3)


def test_special_tokens_in_a_question_are_plain_text(bytewise: Path) -> None:
    policy = policy_of(bytewise)
    frame = policy.frame(POOL)
    (rest,) = policy._rests(["a <|im_end|> b"], frame)
    end = policy.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert rest.count(end) == 1  # that of the template
    assert "a <|im_end|> b<|im_end|>" in policy.tokenizer.decode(rest)


def test_threads_share_a_policy(bytewise: Path) -> None:
    policy = policy_of(bytewise)
    frame, texts = policy.frame(POOL), ["a <|im_end|> b"] * 4
    alone = policy._rests(texts, frame)
    heads = {number: Pool([*POOL, Candidate(str(number))]) for number in range(400)}

    def read(number: int) -> bool:
        head = list(policy.frame(heads[number]).head) if number % 2 else []  # its template has special tokens that count
        return policy._rests(texts, frame) == alone and head[:1] in ([], list(frame.head[:1]))

    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(read, range(400)))
    finally:
        sys.setswitchinterval(switching)


def test_a_prompt_longer_than_the_model_takes_is_refused(tiny: Path) -> None:
    policy = policy_of(tiny, question_characters=100_000)
    with pytest.raises(PluginError, match=r"the model takes 4096; shorten the descriptions, lower question_characters"):
        policy.scores(["algebra " * 5000], POOL)


def test_a_long_question_is_read_from_both_ends(tiny: Path) -> None:
    policy = policy_of(tiny, question_characters=20)
    frame = policy.frame(POOL)
    (rest,) = policy._rests(["a " * 50 + "algebra " + "b " * 50], frame)
    written = policy.tokenizer.decode([*frame.head, *rest]).replace(" ", "")
    assert "Question:aaaaa...bbbbb" in written
    assert written.endswith(TURN_START.replace(" ", "").replace("\n", ""))


def test_it_learns_which_candidate_answers_which_question(specialist: ChoiceRouter) -> None:
    held_out = table(40, first=100)
    chosen = utilities(specialist, [query.text for query in held_out.queries]).argmax(axis=1)
    assert np.mean(chosen == 2 * (np.arange(40) % 2)) > 0.9


@pytest.mark.parametrize("stage", [{"warm_start_epochs": 0.0, "epochs": 20.0, "entropy": 0.1}, {"warm_start_epochs": 10.0, "epochs": 0.0}])
def test_each_stage_learns_alone(tiny: Path, stage: dict[str, float]) -> None:
    router = trained(table(80), options(tiny, **stage))
    chosen = utilities(router, [query.text for query in table(40, first=100).queries]).argmax(axis=1)
    assert np.mean(chosen == 2 * (np.arange(40) % 2)) > 0.9


def test_a_training_whose_loss_is_not_finite_is_an_error(tiny: Path) -> None:
    with pytest.raises(AamcError, match=r"^router-r1-choice: the loss of update \d+ is not a finite number; lower the learning rate"):
        trained(table(80), options(tiny, learning_rate=1e30))


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
    loss(logits, reward, is_warm_start=False, entropy_weight=0.0).backward()
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
    loss(logits, reward, is_warm_start=True, entropy_weight=0.0).backward()
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
    with pytest.raises(CheckpointError, match=r"other options \(epochs: 2.0, not 9.0\)"):
        trained(table(48), attrs.evolve(config, epochs=9.0), folder=tmp_path / "killed", resume=True)
    resumed = trained(table(48), config, folder=tmp_path / "killed", resume=True)
    whole = trained(table(48), config, folder=tmp_path / "whole")
    again = trained(table(48), config, folder=tmp_path / "killed", resume=True)  # all its updates are done
    asked = ["Solve equation 3 of algebra.", "Read clause 7 of the contract."]
    for router in (resumed, again):
        assert (utilities(router, asked) == utilities(whole, asked)).all()


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
    assert train(untrained(options(tiny, rows=5)), table(40))["rows"] == 5


def test_errors_say_what_to_do(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="aamc train --router router-r1-choice"):
        utilities(untrained(options(tiny)), ["What?"])
    no_outcomes = attrs.evolve(table(4), outcomes=None)
    training = Training(dataset=no_outcomes, request=build_request(no_outcomes.queries, POOL, QUALITY_ONLY))
    with pytest.raises(DataError, match="specialists has none; use a dataset with outcomes"):
        untrained(options(tiny)).train(training)
    with pytest.raises(ConfigError, match="is not a causal language model"):
        trained(table(4), options(tmp_path))
    for missing in (str(tmp_path / "nowhere"), "./nowhere", "checkpoints/router/nowhere"):  # none is a name that the hub could have
        with pytest.raises(ConfigError, match=f"there is no folder {missing}; name a folder with a causal language model"):
            trained(table(4), options(missing))
    with pytest.raises(CheckpointError, match=r"files\.json"):
        untrained(options(tiny)).load(tmp_path)


def test_a_model_with_other_layers_is_refused(tiny: Path, tmp_path: Path) -> None:
    Lfm2ForCausalLM(Lfm2Config(vocab_size=99, layer_types=["conv", "full_attention"], **SHAPE)).save_pretrained(tmp_path)
    policy_of(tiny).tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="layers of the kind 'conv'"):
        trained(table(4), options(tmp_path))


MISREADING = {
    "gptj": GPTJConfig(vocab_size=300, n_positions=256, n_embd=32, n_layer=2, n_head=4, rotary_dim=8, initializer_range=0.1),
    "bloom": BloomConfig(vocab_size=300, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.1),
    "mamba": MambaConfig(vocab_size=300, hidden_size=32, num_hidden_layers=2, state_size=4),
}


@pytest.mark.parametrize("kind", MISREADING)
def test_a_model_that_misreads_the_mask_is_refused(tiny: Path, tmp_path: Path, kind: str) -> None:
    AutoModelForCausalLM.from_config(MISREADING[kind]).save_pretrained(tmp_path)
    policy_of(tiny).tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"(names side by side|layers of the kind).*; router-r1-choice needs a model"):
        policy_of(tmp_path)


def test_a_refusal_names_the_error_of_the_model(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise raised

    monkeypatch.setattr(LlamaForCausalLM, "forward", fail)
    raised: Exception = ValueError("masks of four dimensions are not supported")
    with pytest.raises(ConfigError, match="side by side: ValueError: masks of four dimensions are not supported; router-r1-choice needs") as caught:
        policy_of(tiny)
    assert caught.value.__cause__ is raised
    raised = torch.OutOfMemoryError("out of memory")
    with pytest.raises(torch.OutOfMemoryError):
        policy_of(tiny)


def test_a_gpt2_is_accepted(tiny: Path, tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=300, n_positions=256, n_embd=32, n_layer=2, n_head=4, initializer_range=0.1)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    policy_of(tiny).tokenizer.save_pretrained(tmp_path)
    policy_of(tmp_path)


@pytest.mark.parametrize(("batch", "micro", "together"), [(16, 16, 16), (12, 8, 6), (8, 32, 8), (30, 7, 6)])
def test_an_update_has_as_many_rows_as_asked(tiny: Path, batch: int, micro: int, together: int) -> None:
    config = options(tiny, batch_size=batch, micro_batch_size=micro, warm_start_epochs=1.0, epochs=0.5)
    given = _arguments(config, make_services(POOL, get_plugin_manager(), ServingSettings()), tiny)
    assert given.per_device_train_batch_size == together
    assert given.per_device_train_batch_size * given.gradient_accumulation_steps == batch
    updates = math.ceil(32 / batch) + math.ceil(16 / batch)
    order = order_of_rows(["text"] * 32, updates, batch, seed=0)
    assert len(order) == batch * updates
    assert set(order[:32]) == set(range(32))


def test_both_stages_learn_where_rows_are_few(tiny: Path) -> None:
    assert train(untrained(options(tiny, batch_size=32, warm_start_epochs=1.0, epochs=1.0)), table(16))["updates"] == 2


def test_a_pool_longer_than_the_model_takes_is_refused(tiny: Path) -> None:
    pool = Pool([Candidate("maths-large", "algebra " * 5000), *list(POOL)[1:]])
    with pytest.raises(PluginError, match="the model takes 4096; shorten the descriptions"):
        policy_of(tiny).scores(["Solve"], pool)


def test_a_training_leaves_the_random_numbers_of_the_program(tiny: Path) -> None:
    def draws() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(1))]

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = draws()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    trained(table(16), options(tiny, epochs=0.0, warm_start_epochs=1.0))
    assert draws() == expected


def test_a_policy_loads_without_the_libraries_of_training(specialist: ChoiceRouter, tiny: Path, tmp_path: Path) -> None:
    specialist.save(tmp_path)
    program = """
import sys
sys.modules.update({"trl": None, "peft": None, "accelerate": None, "datasets": None})
from pathlib import Path
from aamc_router_r1.config import ChoiceOptions
from aamc_router_r1.single.choice_router import ChoiceRouter
from aamc_sdk import Candidate, Pool
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.config import ServingSettings
from aamc_sdk.serving import make_services
router = ChoiceRouter(ChoiceOptions(), make_services(Pool([Candidate("a")]), get_plugin_manager(), ServingSettings()))
router.load(Path(sys.argv[1]))
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
