"""Router ``router-r1``: a policy selects the model, and another router decides where it gives no usable answer."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any

import attrs
import numpy as np
from aamc_bandit.inner_router import InnerAttribute, WrappingRouter

from aamc_router_r1.config import ERROR, RouterOptions
from aamc_router_r1.policy import measured_quality, policy_of, stated, trained_alphas
from aamc_router_r1.protocol import clean
from aamc_router_r1.reward import size_cost, weighed_tokens
from aamc_router_r1.single.policy_calls import FirstCall, ModelSelection, RouteServer, SelectionError, Selector, server_selector
from aamc_sdk import AsyncRouter, Preference, Requirements, Router, Services
from aamc_sdk.errors import AamcError, ConfigError
from aamc_sdk.messages import nearest, one_of
from aamc_sdk.routing import choice_probabilities
from aamc_sdk.serving import check_privileged
from aamc_sdk.types import Candidate, Experience, Feedback, ModelSpec, Pool, RoutingRequest, Scores

logger = logging.getLogger(__name__)
TOKENS = 1000
"""Tokens of an answer whose price per million is compared with the scale: 10 USD per million tokens get no cost reward."""


class DecisionCache:
    """The latest ``size`` decisions by key, each for a limited number of seconds; any thread may use it."""

    def __init__(self, size: int, seconds: float) -> None:
        self._size, self._seconds = size, seconds
        self._kept: OrderedDict[Hashable, tuple[float, ModelSelection]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> ModelSelection | None:
        """Return a decision; None if there is none, or it is too old."""
        with self._lock:
            found = self._kept.get(key)
            if found is None or time.monotonic() > found[0]:
                self._kept.pop(key, None)
                return None
            self._kept.move_to_end(key)
            return found[1]

    def put(self, key: Hashable, decision: ModelSelection) -> None:
        """Keep a decision in place of the one that was not used for the longest time."""
        with self._lock:
            self._kept[key] = time.monotonic() + self._seconds, decision
            self._kept.move_to_end(key)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)


def rewarded(experience: Experience, pool: Pool, alpha: float) -> Experience:
    """Return an experience whose qualities are rewards R = (1 - alpha) quality + alpha R_cost.

    These rewards put quality and cost in one number, as vLLM Semantic Router does. R_cost is that of mode ``vsr``, with the candidate's price of
    a million answer tokens as its size. It does not depend on the call, its tokens or its failure, which the log may hold in another batch, so
    that a replay learns the same.
    """
    chosen = {decision.id: decision.candidate for decision in experience.decisions}
    candidates = {candidate.name: candidate for candidate in pool}

    def _rewarded(feedback: Feedback) -> Feedback:
        if feedback.quality is None:
            return feedback
        candidate = candidates.get(feedback.candidate or chosen.get(feedback.decision_id, ""))
        return attrs.evolve(feedback, quality=(1 - alpha) * feedback.quality + alpha * price_reward(candidate))

    entries = [_rewarded(entry) if isinstance(entry, Feedback) else entry for entry in experience.entries]
    return attrs.evolve(experience, entries=entries, replaced=list(map(_rewarded, experience.replaced)))


def price_reward(candidate: Candidate | None) -> float:
    """Return R_cost of an answer of ``TOKENS`` tokens; 0.5 if the candidate has no prices."""
    return size_cost(weighed_tokens(candidate.prices if isinstance(candidate, ModelSpec) else None, TOKENS))


NOT_CONFIGURED = "no policy is configured; set policy to a candidate of the pool, router_model_path or router_r1_server_url"


class RouterR1Router(AsyncRouter, WrappingRouter):
    """Selects the model that a policy consults first. The propensity is unknown, since the policy writes text.

    Where it gives no usable answer in time, the fallback decides, and the decision's notes say so. The fallback learns from the log
    as it would on its own.

    Raises:
        ConfigError: The options name no usable policy or fallback.
    """

    Config = RouterOptions
    config: RouterOptions
    requires = InnerAttribute(Requirements(text=True, history=True), lambda router: router._requirements())
    uses_preference = False
    state_options = ("use_router_r1_rewards", "cost_reward_alpha")  # the fallback names its own
    wrapped: Router | None = None
    """The fallback."""

    def __init__(self, config: RouterOptions, services: Services) -> None:
        super().__init__(config, services)
        name = config.llm_routing_fallback
        if name == "router-r1":
            raise ConfigError("router-r1 cannot be its own fallback; choose another router as llm_routing_fallback, such as thompson, or error")
        if name != ERROR:
            self.wrapped = services.make("router", name, config.fallback_options)
            check_privileged(name, self.wrapped, "llm_routing_fallback")
        self._alphas: tuple[float, ...] = ()
        self._selector = self._make_selector()
        self.uses_preference = (
            config.show_preference or bool(self._alphas) or (self._selector is None and self.wrapped is not None and self.wrapped.uses_preference)
        )
        self._cache = DecisionCache(config.cache_size, config.cache_seconds)

    def _requirements(self) -> Requirements:
        own = Requirements() if self.wrapped is None else self.wrapped.requires
        why = f"its fallback {self.config.llm_routing_fallback!r} requires training" if own.training else ""
        return attrs.evolve(own, text=True, history=True, cheap_rescoring=False, training_reason=why)

    def _make_selector(self) -> Selector | None:
        config, services = self.config, self.services
        if not config.enable_llm_routing:
            return None
        if config.router_r1_server_url:
            return server_selector(config, services)
        if not (config.policy or config.router_model_path):
            if self.wrapped is None:
                raise ConfigError(f"router-r1: {NOT_CONFIGURED}")
            logger.warning("router-r1 asks no policy, so %s decides each request: %s", config.llm_routing_fallback, NOT_CONFIGURED)
            return None
        if services.models is None:
            raise ConfigError("router-r1 calls a model, and there is no client for models; give the policy an endpoint in a pool file")
        quality = measured_quality(config.quality_from, config.quality, services.pool.names)
        policy = policy_of(config, services.pool, None)
        self._alphas = trained_alphas(policy, config)
        return FirstCall(config, policy, services.models, quality)

    @property
    def samples(self) -> bool:
        """Whether the fallback's decisions are drawn from its probabilities."""
        return self.wrapped is not None and self.wrapped.samples

    async def ascore(self, request: RoutingRequest) -> Scores:
        """Ask the policy for each row, in parallel; the rows without a usable answer get the fallback's scores."""
        began = time.monotonic()
        asked = await asyncio.gather(*(self._ask(request, row) for row in range(len(request))))
        spent_ms = 1000 * (time.monotonic() - began)
        failed = np.array([row for row, found in enumerate(asked) if isinstance(found, SelectionError)], dtype=np.intp)
        others: Scores | None = None
        if len(failed):
            if self.wrapped is None:
                first = asked[int(failed[0])]
                assert isinstance(first, SelectionError)
                raise SelectionError(f"{first.reason}, and llm_routing_fallback is error", first.reason, first.cost_usd) from first.__cause__
            rest = request.take(failed)
            others = await self.wrapped.ascore(rest) if isinstance(self.wrapped, AsyncRouter) else self.wrapped.score(rest)
        return self._combined(request, asked, failed, others, spent_ms)

    def _combined(
        self, request: RoutingRequest, asked: Sequence[ModelSelection | SelectionError], failed: Any, others: Scores | None, spent_ms: float
    ) -> Scores:
        utility = np.zeros(request.mask.shape)
        probabilities = np.zeros(request.mask.shape)
        notes: list[dict[str, Any]] = [{} for _ in asked]
        for row, found in enumerate(asked):
            if isinstance(found, ModelSelection):
                chosen = request.pool.index(found.candidate)
                utility[row, chosen] = probabilities[row, chosen] = 1.0
                notes[row] = {"llm_routing": "selected" if np.count_nonzero(request.mask[row]) > 1 else "not asked"}
                if self.config.note_thinking and found.thinking:
                    notes[row]["thinking"] = found.thinking
            else:
                fallback = self.config.llm_routing_fallback
                notes[row] = {"llm_routing": "fallback", "fallback": fallback, "reason": found.reason}
                notes[row]["why"] = f"The policy gave no choice ({found.reason}), so the fallback, {fallback}, decided."
        known = False
        if others is not None:
            utility[failed] = others.utility
            probabilities[failed] = choice_probabilities(others, request.take(failed), self.samples)
            known = len(failed) == len(asked) and others.propensity_known
            for row, own in zip(failed.tolist(), others.notes, strict=False):
                why = " ".join(str(each["why"]) for each in (notes[row], own) if "why" in each)
                notes[row] = {**own, **notes[row], "why": why}
        spent = [0.0 if math.isnan(found.cost_usd) else found.cost_usd for found in asked]
        return Scores(utility, probabilities, known, np.array(spent), spent_ms, notes=notes)

    async def _ask(self, request: RoutingRequest, row: int) -> ModelSelection | SelectionError:
        """Return the selection of one row, or why there is none. A policy is not paid to select the only allowed candidate."""
        if self._selector is None:
            return SelectionError("LLM routing is not enabled" if not self.config.enable_llm_routing else NOT_CONFIGURED)
        allowed = np.flatnonzero(request.mask[row]).tolist()
        if len(allowed) == 1:
            return ModelSelection(request.pool.names[allowed[0]], cost_usd=0.0)
        query = request.queries[row]
        if not query.text.strip():
            return SelectionError("the query has no text")
        preference = stated(Preference(*request.preferences[row].tolist()), self._alphas, self.config.show_preference)
        pool = request.pool if len(allowed) == len(request.pool) else Pool(request.pool.candidates[place] for place in allowed)
        key = (query.text, query.turns, pool.names, preference)
        if (known := self._cache.get(key)) is not None:
            return self._allowed(attrs.evolve(known, cost_usd=0.0), request, row)
        try:
            found = await asyncio.wait_for(self._selector.select(query, pool, preference), self.config.timeout_seconds)
        except asyncio.TimeoutError:  # another class until Python 3.11
            return SelectionError(f"no answer within {self.config.timeout_seconds:g} s")
        except SelectionError as error:
            return error
        except AamcError as error:
            unanswered = SelectionError(str(error))
            unanswered.__cause__ = error  # has the message for clients of the gateway
            return unanswered
        self._cache.put(key, found)
        return self._allowed(found, request, row)

    def _allowed(self, found: ModelSelection, request: RoutingRequest, row: int) -> ModelSelection | SelectionError:
        if found.candidate not in request.pool.names:
            name, names = clean(found.candidate[:200]), request.pool.names
            message = f"{name!r} was selected, which is not a candidate{nearest(name, names)} ({one_of(names)})"
            if not isinstance(self._selector, RouteServer):  # the policy itself
                return SelectionError(message, cost_usd=found.cost_usd)
            logger.warning("router-r1: %s", message)  # notes and clients must not get a server's text, which may quote the request
            return SelectionError(message, "a model that is not a candidate was selected", found.cost_usd)
        if not request.mask[row, request.pool.index(found.candidate)]:
            reasons = request.reasons(row, request.pool.index(found.candidate))
            return SelectionError(f"{found.candidate!r} was selected, which is not allowed: {reasons}", cost_usd=found.cost_usd)
        return found

    def learn(self, experience: Experience) -> None:
        """Let the fallback learn from all decisions."""
        if self.config.use_router_r1_rewards:
            experience = rewarded(experience, self.services.pool, self.config.cost_reward_alpha)
        super().learn(experience)
