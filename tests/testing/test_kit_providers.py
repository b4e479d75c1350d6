"""Each broken provider is caught by the check that is meant for it."""

import threading
import time

import attrs
import pytest
from offering import failed

from aamc_sdk import Completion, Provider, option
from aamc_sdk.interfaces import Chunk, Usage
from aamc_sdk.testing import assert_conforms, check_component


@attrs.frozen(kw_only=True)
class Options:
    reply: str = option("four", "the answer")


class FairProvider(Provider):
    Config = Options

    async def complete(self, candidate, messages, **options):
        return Completion(message={"role": "assistant", "content": self.config.reply}, usage=Usage(prompt_tokens=1, output_tokens=1))

    async def stream(self, candidate, messages, **options):
        yield Chunk(content=self.config.reply)


class Raw(FairProvider):
    async def complete(self, candidate, messages, **options):
        return {"choices": []}


class Mute(FairProvider):
    async def stream(self, candidate, messages, **options):
        yield Chunk(content="")


class Stateless(FairProvider):
    def state(self):
        return None


class Prompting(FairProvider):
    """Adds a system prompt to the caller's own list."""

    async def complete(self, candidate, messages, **options):
        messages.insert(0, {"role": "system", "content": "Be brief."})
        return await super().complete(candidate, messages, **options)


class Optionless(FairProvider):
    async def complete(self, candidate, messages):
        return await super().complete(candidate, messages)


class LeavesAThread(FairProvider):
    def __init__(self, config, services):
        super().__init__(config, services)
        threading.Thread(target=time.sleep, args=(2.5,), name="sleeper").start()


def test_without_a_server_no_answer_is_checked(offer):
    skipped = [finding.message for finding in check_component("provider", "mine", offer("provider", Raw)) if finding.skipped]
    assert skipped == ["no server to call: give a test server's options, as in assert_conforms('provider', NAME, plugins, {'base_url': URL})"]


def test_with_one_answers_are_checked(offer):
    options = {"reply": "4"}
    assert_conforms("provider", "mine", offer("provider", FairProvider), options)
    with pytest.raises(AssertionError, match=r"it answers: complete must return aamc_sdk\.Completion, not dict"):
        assert_conforms("provider", "mine", offer("provider", Raw), options)
    with pytest.raises(AssertionError, match="it answers: the stream has no text"):
        assert_conforms("provider", "mine", offer("provider", Mute), options)


def test_a_provider_that_changes_the_messages_is_caught(offer):
    with pytest.raises(AssertionError, match="it answers: a call changes messages"):
        assert_conforms("provider", "mine", offer("provider", Prompting), {"reply": "4"})


def test_a_provider_that_takes_no_options_is_caught(offer):
    assert failed(offer("provider", Optionless), "provider") == {"a provider is asynchronous"}


def test_a_provider_that_leaves_a_thread_is_caught(offer):
    assert failed(offer("provider", LeavesAThread), "provider") == {"its threads let the program end"}


def test_a_provider_without_a_state_is_caught(offer):
    assert failed(offer("provider", Stateless), "provider") == {"its state is known"}
