"""Episodes in batches: the policy generates with transformers, the environment replies, and a mask tells their tokens apart."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from aamc_router_r1.config import RouterR1Config, preference_of
from aamc_router_r1.data import RoutingTask
from aamc_router_r1.episode.dialogue import Dialogue
from aamc_router_r1.protocol import ModelNames, SubQuestion, information, joined, render_prompt
from aamc_router_r1.reward import COMPLETION, CostNormalizer, RewardParts, exact_match, weighed_tokens
from aamc_router_r1.tokens import plain_ids, prompt_ids
from aamc_router_r1.training.replies import Replies, spec_of
from aamc_sdk.types import Prices

CLOSING = ("</search>", "</answer>")
"""A turn ends with one of these tags."""
FREE = Prices(input=0.0, output=0.0)
NEUTRAL: Mapping[str, Any] = {
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": None,
    "min_p": None,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    **dict.fromkeys(("bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "sequence_bias", "forced_bos_token_id", "forced_eos_token_id")),
}
"""Options that undo a model's own changes of its probabilities: GRPO's loss is that of the unchanged ones, which service uses too."""


@attrs.define
class PlayedEpisode:
    """An episode of training.

    Attributes:
        alpha: The weight of the cost in its reward.
        ids: Tokens after those of the prompt.
        mask: For each of them 1 if the policy generated it, else 0: these are left out of the loss.
        cost_usd: Cost of the calls and of the policy in USD, as the reward counts it; NaN if one is unknown.
        spent_usd: Known cost of all their tokens in USD, as a budget counts it.
        size_tokens: Sum of :func:`aamc_router_r1.reward.weighed_tokens` over calls, for mode ``vsr``.
    """

    task: RoutingTask
    alpha: float
    dialogue: Dialogue
    prompt_ids: list[int]
    ids: list[int] = attrs.field(factory=list)
    mask: list[int] = attrs.field(factory=list)
    cost_usd: float = 0.0
    spent_usd: float = 0.0
    consulted: list[str] = attrs.field(factory=list)
    size_tokens: float = 0.0
    reward: RewardParts | None = None

    @property
    def malformed(self) -> bool:
        """Whether the episode breaks the protocol's form."""
        return bool(self.dialogue.format_errors)


@attrs.frozen
class BatchPlayer:
    """Plays episodes in batches; ``prices`` are those of the policy's own tokens, and a temperature of 0 takes the most probable ones."""

    tokenizer: PreTrainedTokenizerBase
    replies: Replies
    config: RouterR1Config
    prices: Prices = FREE
    temperature: float = 1.0

    def begin(self, task: RoutingTask, alpha: float) -> PlayedEpisode:
        """Return a new episode."""
        names = ModelNames([spec.name for spec in task.specs])
        dialogue = Dialogue(names, self.config, lambda text: len(plain_ids(self.tokenizer, text)))
        return PlayedEpisode(task, alpha, dialogue, prompt_ids(self.tokenizer, self._prompt(task, alpha)))

    def longest(self, tasks: Sequence[RoutingTask]) -> tuple[int, int]:
        """Return the maximum number of tokens of a prompt, and that of an episode or a demonstration; the longest are found by their bytes."""
        config, prompts = self.config, [self._prompt(task, 0.0) for task in tasks]
        demonstrated = [text + joined(task.demonstration(config.observation_tokens)) for text, task in zip(prompts, tasks, strict=True)]
        prompt, whole = (len(prompt_ids(self.tokenizer, max(texts, key=lambda text: len(text.encode())))) for texts in (prompts, demonstrated))
        tags = len(plain_ids(self.tokenizer, information("", 1)))
        return prompt, max(whole, prompt + config.rounds * (config.turn_tokens + config.observation_tokens + tags) + config.turn_tokens)

    def _prompt(self, task: RoutingTask, alpha: float) -> str:
        preference = preference_of(alpha) if self.config.training_alphas or self.config.show_preference else None
        return render_prompt(task.question, task.specs, task.quality, rounds=self.config.rounds, preference=preference)

    def play(self, model: PreTrainedModel, episodes: Sequence[PlayedEpisode], stops: Callable[[], bool] = lambda: False) -> None:
        """Play episodes to their ends, all in step; no turn begins once ``stops`` returns True."""
        while (running := [episode for episode in episodes if not episode.dialogue.done]) and not stops():
            asked = []
            for episode, ids in zip(running, self._generate(model, running), strict=True):
                asked += [(episode, call) for call in self._take(episode, ids)]
            answers = self.replies([(episode.task, call) for episode, call in asked])
            texts: dict[int, list[str]] = {}
            for (episode, call), reply in zip(asked, answers, strict=True):
                texts.setdefault(id(episode), []).append(reply.text)
                episode.consulted.append(call.model)
                self._count(episode, call.model, reply.cost_usd, reply.output_tokens)
            for episode in running:
                if id(episode) in texts:
                    episode.dialogue.inform(texts[id(episode)])
                if not episode.dialogue.done:  # the tokens of the environment's last segment are masked
                    ids = plain_ids(self.tokenizer, episode.dialogue.transcript[-1].text)
                    episode.ids += ids
                    episode.mask += [0] * len(ids)

    def _count(self, episode: PlayedEpisode, model: str, cost_usd: float, tokens: int) -> None:
        prices = spec_of(episode.task, model).prices
        per_token = math.nan if prices is None else prices.output
        episode.cost_usd += tokens * per_token / 1e6 if self.config.cost_tokens == COMPLETION else cost_usd
        episode.spent_usd += 0.0 if math.isnan(cost_usd) else cost_usd
        episode.size_tokens += weighed_tokens(prices, tokens)

    def _take(self, episode: PlayedEpisode, ids: list[int]) -> Sequence[SubQuestion]:
        """Add the policy's turn to an episode and return its calls."""
        spent_usd = self.prices.cost_usd(len(episode.prompt_ids) + len(episode.ids), len(ids))
        episode.cost_usd += self.prices.cost_usd(0, len(ids)) if self.config.cost_tokens == COMPLETION else spent_usd
        episode.spent_usd += spent_usd
        episode.ids += ids
        episode.mask += [1] * len(ids)
        text = str(self.tokenizer.decode(ids, skip_special_tokens=True))
        return episode.dialogue.take(text, len(ids)).calls

    def _generate(self, model: Any, episodes: Sequence[PlayedEpisode]) -> list[list[int]]:
        """Return the tokens of each episode's next turn."""
        rows = [{"input_ids": episode.prompt_ids + episode.ids} for episode in episodes]
        self.tokenizer.padding_side = "left"
        inputs = self.tokenizer.pad(rows, return_tensors="pt").to(model.device)
        with torch.no_grad():
            made = model.generate(**inputs, **generation_options(self.tokenizer, self.config.turn_tokens, self.temperature))
        ends = {self.tokenizer.pad_token_id, self.tokenizer.eos_token_id}
        turns = []
        for row in made[:, inputs["input_ids"].shape[1] :].tolist():
            while row and row[-1] in ends:
                row.pop()
            turns.append(row or [self.tokenizer.eos_token_id])
        return turns


def generation_options(tokenizer: PreTrainedTokenizerBase, tokens: int, temperature: float) -> Mapping[str, Any]:
    """Return the options of ``generate`` for one turn: it ends with a closing action tag, the end of the text, or too many tokens."""
    single = [plain_ids(tokenizer, tag) for tag in CLOSING]
    options: dict[str, Any] = {**NEUTRAL, "max_new_tokens": tokens, "pad_token_id": tokenizer.pad_token_id, "use_cache": True}
    if all(len(ids) == 1 for ids in single):  # no text has to be searched for the tags
        options["eos_token_id"] = [tokenizer.eos_token_id, *(ids[0] for ids in single)]
    else:
        options |= {"eos_token_id": tokenizer.eos_token_id, "stop_strings": list(CLOSING), "tokenizer": tokenizer}
    if temperature > 0:
        return {**options, "do_sample": True, "temperature": temperature, "top_p": 1.0, "top_k": 0}
    return {**options, "do_sample": False, "temperature": None, "top_p": None, "top_k": None}


def score(config: RouterR1Config, normalizer: CostNormalizer, episodes: Sequence[PlayedEpisode]) -> None:
    """Reward episodes on one scale of costs: unless the normalizer is frozen, all of them enter it first.

    If each were scaled after those before it, equal episodes of a question would have different advantages, which GRPO divides by their deviation.
    """
    for episode in episodes:
        normalizer.add(episode.cost_usd)
    for episode in episodes:
        episode.reward = config.score(
            normalizer.scaled,
            episode.dialogue.answer,
            episode.task.golds,
            episode.cost_usd,
            malformed=episode.malformed,
            size_tokens=episode.size_tokens,
            alpha=episode.alpha,
        )


def figures(episodes: Sequence[PlayedEpisode]) -> dict[str, Any]:
    """Return mean figures of scored episodes: reward, exact match, cost in USD, consultations, malformed share, and each model's share."""
    consulted = Counter(name for episode in episodes for name in episode.consulted)
    total = max(1, consulted.total())
    return {
        "episodes": len(episodes),
        "reward": float(np.mean([episode.reward.total for episode in episodes if episode.reward is not None])),
        "exact_match": float(np.mean([exact_match(episode.dialogue.answer or "", episode.task.golds) for episode in episodes])),
        "cost_usd": float(np.mean([episode.cost_usd for episode in episodes])),
        "consultations": float(np.mean([len(episode.consulted) for episode in episodes])),
        "malformed": float(np.mean([episode.malformed for episode in episodes])),
        "model_share": {name: count / total for name, count in consulted.most_common(8)},
    }
