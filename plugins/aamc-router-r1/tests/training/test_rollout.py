"""Episodes of training, played by a scripted model."""

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import torch
from aamc_router_r1.config import RouterR1Config
from aamc_router_r1.data import RoutingTask
from aamc_router_r1.protocol import information
from aamc_router_r1.reward import CostNormalizer
from aamc_router_r1.single.router import price_reward
from aamc_router_r1.tokens import plain_ids
from aamc_router_r1.training.replies import ConsultedReply
from aamc_router_r1.training.rollout import BatchPlayer, PlayedEpisode, figures, generation_options, score
from aamc_router_r1.training.trainers import unpadded
from aamc_router_r1.world import FactWorld, Truth, WorldReplies
from tiny_model import tiny_model, tiny_tokenizer

from aamc_sdk.types import ModelSpec, Prices

WORLD = FactWorld(0)
TOKENIZER = tiny_tokenizer(WORLD)


class Scripted:
    """A model that writes given turns, each followed by padding, whatever it is asked."""

    device = torch.device("cpu")

    def __init__(self, *turns: Sequence[str]) -> None:
        self._turns = iter(turns)

    def generate(self, input_ids: torch.Tensor, **_: Any) -> torch.Tensor:
        rows = [plain_ids(TOKENIZER, text) for text in next(self._turns)]
        width = max(map(len, rows)) + 1
        made = torch.full((len(rows), width), TOKENIZER.pad_token_id)
        for place, row in enumerate(rows):
            made[place, : len(row)] = torch.tensor(row)
        return torch.cat([input_ids, made], dim=1)


@pytest.fixture(scope="module")
def task() -> RoutingTask:
    return next(task for task in WORLD.tasks(50, 2) if len(task.consultations) == 1 and isinstance(task.simulation, Truth))


def player(**changes: Any) -> BatchPlayer:
    settings = {"replies": WorldReplies(), "config": RouterR1Config(rounds=2, turn_tokens=40, show_preference=True)}
    return BatchPlayer(tokenizer=TOKENIZER, **{**settings, **changes})


def test_a_models_own_penalties_do_not_change_what_is_sampled() -> None:
    model: Any = tiny_model(len(TOKENIZER), 0).eval()
    asked = torch.tensor([plain_ids(TOKENIZER, "<think> item3 item3 item3 item3 </think>")])
    options = generation_options(TOKENIZER, 20, 0.0)

    def generated() -> list[int]:
        return model.generate(input_ids=asked, attention_mask=torch.ones_like(asked), **options)[0].tolist()  # type: ignore[no-any-return]  # it is

    plain = generated()
    for name, value in {"repetition_penalty": 5.0, "no_repeat_ngram_size": 1, "suppress_tokens": plain[-3:], "min_new_tokens": 19}.items():
        before = getattr(model.generation_config, name)
        setattr(model.generation_config, name, value)
        assert generated() == plain, name
        setattr(model.generation_config, name, before)


def test_the_mask_covers_the_turns_and_leaves_out_the_information(task: RoutingTask) -> None:
    (step,) = task.consultations
    search = f"<think> {step.thinking} </think>\n<search> {step.model}: {step.query} </search>"
    answer = "<think> item3 answers it </think>\n<answer> item3 </answer>"
    played = player(prices=Prices(1.0, 2.0))
    episode = played.begin(task, 0.3)
    played.play(Scripted([search], [answer]), [episode])  # type: ignore[arg-type]  # all that the player needs of a model
    kept = [token for token, mask in zip(episode.ids, episode.mask, strict=True) if mask]
    dropped = [token for token, mask in zip(episode.ids, episode.mask, strict=True) if not mask]
    assert kept == plain_ids(TOKENIZER, search) + plain_ids(TOKENIZER, answer)
    (reply,) = WorldReplies()([(task, SimpleNamespace(model=step.model, question=step.query))])  # type: ignore[list-item]  # a call
    assert TOKENIZER.decode(dropped) == f"<information> {reply.text} </information>"
    assert episode.consulted == [step.model]
    assert not episode.malformed
    turns = [plain_ids(TOKENIZER, search), plain_ids(TOKENIZER, answer)]
    prompts = 2 * len(episode.prompt_ids) + len(turns[0]) + len(dropped)
    assert episode.cost_usd == pytest.approx(reply.cost_usd + (prompts + 2 * sum(map(len, turns))) / 1e6)


def test_a_malformed_episode_gets_the_penalty_and_ends_within_its_rounds(task: RoutingTask) -> None:
    played = player()
    episodes = [played.begin(task, 0.3), played.begin(task, 0.3)]
    wrong, good = "item3 item4", "<think> item3 answers it </think>\n<answer> item3 </answer>"
    played.play(Scripted([wrong, good], [wrong], [wrong]), episodes)  # type: ignore[arg-type]  # all that the player needs of a model
    score(RouterR1Config(), CostNormalizer(), episodes)
    assert [episode.malformed for episode in episodes] == [True, False]
    first, second = episodes
    assert first.reward is not None
    assert first.reward.total == -1.0
    assert second.dialogue.answer == "item3"
    found = figures(episodes)
    assert found["malformed"] == 0.5
    assert found["consultations"] == 0
    assert first.mask.count(1) == 3 * len(plain_ids(TOKENIZER, wrong))


def test_equal_episodes_have_equal_rewards(task: RoutingTask) -> None:
    played, normalizer = player(), CostNormalizer(9)
    episodes = [played.begin(task, 0.6) for _ in range(6)]
    played.play(Scripted(["<think> item3 answers it </think>\n<answer> item3 </answer>"] * 6), episodes)  # type: ignore[arg-type]  # all that it needs
    for episode, cost_usd in zip(episodes, (0.04, 0.04, 0.01, 0.01, 0.02, 0.02), strict=True):
        episode.cost_usd = cost_usd
    score(RouterR1Config(), normalizer, episodes)
    rewards = [episode.reward.total for episode in episodes if episode.reward is not None]
    assert rewards[::2] == rewards[1::2]
    assert rewards[0] < rewards[4] < rewards[2]
    assert (len(normalizer.state()["roots"]), normalizer.frozen) == (6, False)


def test_no_episode_is_longer_than_the_longest() -> None:
    tasks = [attrs.evolve(task, answer="") for task in WORLD.tasks(20, 3)]  # without demonstrations
    played = player(config=RouterR1Config(rounds=2, turn_tokens=5, observation_tokens=3))
    episodes = [played.begin(task, 0.3) for task in tasks]
    played.play(Scripted(*[["item3 " * 5] * len(tasks)] * 3), episodes)  # type: ignore[arg-type]  # all that the player needs of a model
    prompt, whole = played.longest(tasks)
    assert prompt == max(len(episode.prompt_ids) for episode in episodes)
    assert whole == max(len(episode.prompt_ids + episode.ids) for episode in episodes)


def test_grpo_gets_prompts_of_one_length() -> None:
    short, long = (player().begin(task, 0.3) for task in sorted(WORLD.tasks(20, 3), key=lambda task: len(task.specs))[::19])
    for episode in (short, long):
        episode.ids, episode.mask = [7, 8], [1, 0]
    more = len(long.prompt_ids) - len(short.prompt_ids)
    rows = unpadded([long, short])
    assert more > 0
    assert [prompt + rest for prompt, rest in zip(rows["prompt_ids"], rows["completion_ids"], strict=True)] == [
        episode.prompt_ids + episode.ids for episode in (long, short)
    ]
    assert [len(prompt) for prompt in rows["prompt_ids"]] == [len(short.prompt_ids)] * 2
    assert rows["env_mask"] == [[0] * more + [1, 0], [1, 0]]


def test_no_turn_begins_once_the_budget_is_spent(task: RoutingTask) -> None:
    played, asked = player(), iter([False, True])
    episode = played.begin(task, 0.3)
    played.play(Scripted(["item3"], ["item3"]), [episode], lambda: next(asked))  # type: ignore[arg-type]  # all that the player needs of a model
    assert len([segment for segment in episode.dialogue.transcript if segment.by_policy]) == 1
    assert not episode.dialogue.done


def test_the_words_of_special_tokens_in_a_reply_are_plain_text() -> None:
    ids = plain_ids(TOKENIZER, information(f"item3 {TOKENIZER.eos_token} {TOKENIZER.pad_token}", 600))
    assert not {TOKENIZER.eos_token_id, TOKENIZER.pad_token_id} & set(ids)
    tags = plain_ids(TOKENIZER, "<information></information>")
    assert [ids[0], ids[-1]] == tags


def test_an_empty_turn_still_has_a_token(task: RoutingTask) -> None:
    played = player()
    episode: PlayedEpisode = played.begin(task, 0.3)
    played.play(Scripted([""], [""], [""]), [episode])  # type: ignore[arg-type]  # all that the player needs of a model
    assert episode.mask.count(1) == 3
    assert episode.malformed


def test_mode_vsr_gives_a_call_the_cost_that_the_router_gives_it(task: RoutingTask) -> None:
    (step,) = task.consultations
    config = RouterR1Config(rounds=2, turn_tokens=40, show_preference=True, reward="vsr", alpha=1.0)
    priced = attrs.evolve(task, specs=[attrs.evolve(spec, prices=Prices(1.0, 2.5)) for spec in task.specs])
    played = player(config=config, replies=lambda asked: [ConsultedReply("item3", 0.0025, 1000) for _ in asked])
    episode = played.begin(priced, 1.0)
    search = f"<think> {step.thinking} </think>\n<search> {step.model}: {step.query} </search>"
    played.play(Scripted([search], ["<think> hm </think>\n<answer> item3 </answer>"]), [episode])  # type: ignore[arg-type]  # all that it needs
    score(config, CostNormalizer(), [episode])
    assert episode.reward is not None
    assert episode.reward.cost == price_reward(ModelSpec("m", prices=Prices(1.0, 2.5))) == 0.75


def test_a_cost_that_is_unknown_or_does_not_count_leaves_the_known_spending(task: RoutingTask) -> None:
    (step,) = task.consultations
    search = f"<think> {step.thinking} </think>\n<search> {step.model}: {step.query} </search>"
    answer = "<think> item3 answers it </think>\n<answer> item3 </answer>"
    turns = [len(plain_ids(TOKENIZER, text)) for text in (search, answer)]

    def failed(asked: Sequence[Any]) -> list[ConsultedReply]:
        return [ConsultedReply("No reply.", math.nan, 0) for _ in asked]

    played = player(prices=Prices(1.0, 2.0), replies=failed)
    episode = played.begin(task, 0.3)
    played.play(Scripted([search], [answer]), [episode])  # type: ignore[arg-type]  # all that the player needs of a model
    prompts = 2 * len(episode.prompt_ids) + turns[0] + episode.mask.count(0)
    assert math.isnan(episode.cost_usd)
    assert episode.spent_usd == pytest.approx((prompts + 2 * sum(turns)) / 1e6)

    played = player(prices=Prices(1.0, 2.0), config=RouterR1Config(rounds=2, turn_tokens=40, show_preference=True, cost_tokens="completion"))
    episode = played.begin(task, 0.3)
    played.play(Scripted([search], [answer]), [episode])  # type: ignore[arg-type]  # all that the player needs of a model
    (reply,) = WorldReplies()([(task, SimpleNamespace(model=step.model, question=step.query))])  # type: ignore[list-item]  # a call
    assert episode.spent_usd == pytest.approx(reply.cost_usd + (prompts + 2 * sum(turns)) / 1e6, rel=0.01)
    assert episode.cost_usd < episode.spent_usd
