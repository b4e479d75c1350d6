"""A checkpoint that computes answers in this process."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
from aamc_router_r1.tokens import prompt_ids
from aamc_router_r1.training.provider import CheckpointOptions, CheckpointProvider
from aamc_router_r1.world import FactWorld
from tiny_model import tiny_model, tiny_tokenizer

from aamc_sdk import get_plugin_manager
from aamc_sdk.errors import DataError, ProviderError
from aamc_sdk.routing import default_pool
from aamc_sdk.serving import make_services
from aamc_sdk.types import ModelSpec

POLICY = ModelSpec("policy")


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> CheckpointProvider:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = tiny_tokenizer(FactWorld(0))
    tiny_model(len(tokenizer), 0, 16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return CheckpointProvider(CheckpointOptions(checkpoint=str(Path(folder))), make_services(default_pool(), get_plugin_manager()))


def ask(provider: CheckpointProvider, content: Any, **options: Any) -> Any:
    return asyncio.run(provider.complete(POLICY, [{"role": "user", "content": content}], max_tokens=3, **options))


def test_contents_in_parts_are_their_texts(provider: CheckpointProvider) -> None:
    parts = [{"type": "text", "text": "item3 "}, {"type": "text", "text": "item4"}]
    in_parts, whole = ask(provider, parts), ask(provider, "item3 item4")
    assert (in_parts.message, in_parts.usage) == (whole.message, whole.usage)


def test_the_messages_before_the_policys_first_turn_are_one_prompt(provider: CheckpointProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts: list[str] = []
    monkeypatch.setattr("aamc_router_r1.tokens.prompt_ids", lambda tokenizer, text: prompts.append(text) or prompt_ids(tokenizer, text))
    roles = [("system", "item1"), ("user", "item2"), ("assistant", "item3"), ("user", "item4")]
    messages = [{"role": role, "content": content} for role, content in roles]
    asyncio.run(provider.complete(POLICY, messages, max_tokens=3))
    asyncio.run(provider.complete(POLICY, messages[1:], max_tokens=3))
    assert prompts == ["item1\n\nitem2", "item2"]


def test_an_answer_ends_where_the_models_context_does(provider: CheckpointProvider) -> None:
    assert ask(provider, "item3 " * 2047).usage.output_tokens == 1
    with pytest.raises(ProviderError, match="the conversation has 2048 tokens, and the trained policy's maximum context length is 2048") as refused:
        ask(provider, "item3 " * 2048)
    assert refused.value.kind == "request"


@pytest.mark.parametrize("temperature", ["a", -1, True, float("nan"), 10**400])
def test_a_temperature_that_is_no_number_is_refused(temperature: Any, provider: CheckpointProvider) -> None:
    with pytest.raises(DataError, match="temperature must be a number of at least 0"):
        ask(provider, "item3", temperature=temperature)


def test_a_call_that_is_given_up_ends_and_lets_the_next_one_in(provider: CheckpointProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(provider, "item3")
    assert provider._loaded is not None
    model, tokenizer = provider._loaded
    ended: list[int] = []

    class Endless:
        config = model.config
        device = torch.device("cpu")

        def generate(self, input_ids: Any, stopping_criteria: Any, **_: Any) -> Any:
            while not any(criterion(input_ids, None).all() for criterion in stopping_criteria):
                pass
            ended.append(1)
            return input_ids

    async def work() -> Any:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(provider.complete(POLICY, [{"role": "user", "content": "item3"}]), 0.2)
        monkeypatch.setattr(provider, "_loaded", (model, tokenizer))
        return await provider.complete(POLICY, [{"role": "user", "content": "item3"}], max_tokens=3)

    monkeypatch.setattr(provider, "_loaded", (Endless(), tokenizer))
    assert asyncio.run(work()).usage.prompt_tokens == len(prompt_ids(tokenizer, "item3"))
    assert ended == [1]
