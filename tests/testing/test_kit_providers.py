"""Each broken provider is caught by the check that is meant for it."""

import asyncio
import socket
import socketserver
import threading
import time
from contextlib import suppress

import attrs
import pytest
from offering import failed

from aamc_sdk import Completion, Provider, option
from aamc_sdk.errors import ProviderError
from aamc_sdk.interfaces import Chunk, EndpointState, Usage
from aamc_sdk.testing import assert_conforms, check_component


@attrs.frozen(kw_only=True)
class Options:
    reply: str = option("four", "the answer")


@attrs.frozen(kw_only=True)
class ServerOptions(Options):
    base_url: str = option("http://127.0.0.1:1", "the server")


class FairProvider(Provider):
    Config = Options

    async def complete(self, candidate, messages, **options):
        return Completion(message={"role": "assistant", "content": self.config.reply}, usage=Usage(prompt_tokens=1, output_tokens=1))

    async def stream(self, candidate, messages, **options):
        yield Chunk(content=self.config.reply, finish_reason="stop")


class Miscounting(FairProvider):
    async def complete(self, candidate, messages, **options):
        return Completion(message={"role": "assistant", "content": "four"}, usage=Usage(output_tokens="3"))


class Raw(FairProvider):
    async def complete(self, candidate, messages, **options):
        return {"choices": []}


class Mute(FairProvider):
    async def stream(self, candidate, messages, **options):
        yield Chunk(content="")


class Cancelling(FairProvider):
    async def complete(self, candidate, messages, **options):
        raise asyncio.CancelledError


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


class OfAServer(Raw):
    Config = ServerOptions


class Unset(FairProvider):
    async def complete(self, candidate, messages, **options):
        raise ProviderError("name a checkpoint")


def test_without_a_server_no_answer_is_checked(offer):
    skipped = {finding.message for finding in check_component("provider", "mine", offer("provider", OfAServer)) if finding.skipped}
    assert skipped == {"no server to call: give a test server's options, as in assert_conforms('provider', NAME, plugins, {'base_url': URL})"}


def test_with_one_answers_are_checked(offer):
    options = {"reply": "4"}
    assert_conforms("provider", "mine", offer("provider", FairProvider), options)
    with pytest.raises(AssertionError, match=r"it answers: complete must return aamc_sdk\.Completion, not dict"):
        assert_conforms("provider", "mine", offer("provider", Raw), options)
    with pytest.raises(AssertionError, match="it answers: the stream has no text"):
        assert_conforms("provider", "mine", offer("provider", Mute), options)


def test_a_provider_that_needs_options_says_so(offer):
    skipped = {finding.check: finding.message for finding in check_component("provider", "mine", offer("provider", Unset)) if finding.skipped}
    assert skipped["it answers"] == "it does not answer without options: name a checkpoint"


class LineProvider(FairProvider):
    """Calls a server over a plain connection: a line is asked, and a line answered, a word each 10 ms."""

    Config = ServerOptions

    async def open(self):
        host, _, port = self.config.base_url.removeprefix("http://").rpartition(":")
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
        except OSError as error:
            raise ProviderError("the server is away") from error
        writer.write(b"What is two and two?\n")
        return reader, writer

    async def complete(self, candidate, messages, **options):
        reader, writer = await self.open()
        try:
            content = (await reader.readline()).decode()
        finally:
            writer.close()
        return Completion(message={"role": "assistant", "content": content})

    async def stream(self, candidate, messages, **options):
        reader, writer = await self.open()
        try:
            while word := await reader.read(5):
                yield Chunk(content=word.decode())
            yield Chunk(finish_reason="stop")
        finally:
            writer.close()


class LeavesConnections(LineProvider):
    left = []  # noqa: RUF012  # of all providers

    async def open(self):
        found = await super().open()
        self.left.append(socket.create_connection(found[1].get_extra_info("peername")))
        return found


class ReadsOn(LineProvider):
    """Reads a stream in a task that nothing ends."""

    async def stream(self, candidate, messages, **options):
        chunks = asyncio.Queue()
        self.task = asyncio.create_task(self.read(chunks, candidate, messages))
        while (chunk := await chunks.get()) is not None:
            if isinstance(chunk, ProviderError):
                raise chunk
            yield chunk

    async def read(self, chunks, candidate, messages):
        try:
            async for chunk in super().stream(candidate, messages):
                chunks.put_nowait(chunk)
            chunks.put_nowait(None)
        except ProviderError as error:
            chunks.put_nowait(error)
        await asyncio.sleep(60)  # in place of a long answer


class CancelsItsTask(ReadsOn):
    async def stream(self, candidate, messages, **options):
        try:
            async for chunk in super().stream(candidate, messages):
                yield chunk
        finally:
            self.task.cancel()


class RaisesOther(LineProvider):
    async def open(self):
        try:
            return await super().open()
        except ProviderError as error:
            raise ConnectionRefusedError from error


class ErrorAsAnswer(LineProvider):
    async def complete(self, candidate, messages, **options):
        try:
            return await super().complete(candidate, messages, **options)
        except ProviderError as error:
            return Completion(message={"role": "assistant", "content": str(error)})


@pytest.fixture
def line_server():
    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.rfile.readline()
            with suppress(OSError):
                for _ in range(20):
                    self.wfile.write(b"four ")
                    time.sleep(0.01)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("target", "checks"),
    [
        (LineProvider, {}),
        (CancelsItsTask, {}),
        (LeavesConnections, {"closing ends its connections": "sockets are open after close that were not open before"}),
        (ReadsOn, {"a stream that is closed early ends": "ReadsOn.read goes on after its stream was closed"}),
        (
            RaisesOther,
            {"a server that is away is an error": "complete without a server at its address, within 30 s, must raise ProviderError, not ConnectionR"},
        ),
        (
            ErrorAsAnswer,
            {"a server that is away is an error": "complete without a server at its address, within 30 s, must raise ProviderError, but raised no"},
        ),
    ],
)
def test_what_a_provider_does_with_its_server_is_checked(offer, line_server, target, checks):
    findings = check_component("provider", "mine", offer("provider", target), {"base_url": line_server})
    found = {finding.check: finding.message for finding in findings if not finding.passed}
    while LeavesConnections.left:
        LeavesConnections.left.pop().close()
    assert found.keys() == checks.keys()
    assert all(found[check].startswith(message) for check, message in checks.items())


def answering(answer=None, **changes):
    class Answering(FairProvider):
        async def complete(self, candidate, messages, **options):
            return attrs.evolve(await super().complete(candidate, messages), **changes) if answer is None else answer

    return Answering


def streaming(*chunks):
    class Streaming(FairProvider):
        async def stream(self, candidate, messages, **options):
            for chunk in chunks:
                yield chunk()

    return Streaming


def stating(**values):
    class Stating(FairProvider):
        def state(self):
            return EndpointState(**values)

    return Stating


class Whole(FairProvider):
    def stream(self, candidate, messages, **options):
        return [Chunk(content="four")]


class ClosedAtOnce(FairProvider):
    def close(self):
        pass


NO_MESSAGE = 'a completion\'s message must be {"role": "assistant", "content": TEXT}, not {'
NOT_AN_AMOUNT = "must be a number of at least 0, or NaN where unknown"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (answering("four"), "complete must return aamc_sdk.Completion, not str"),
        (answering(message="four"), 'a completion\'s message must be a mapping such as {"role": "assistant", "content": TEXT}, not \'four\''),
        (answering(message={"content": "four"}), NO_MESSAGE),
        (answering(message={"role": "assistant", "content": 4}), "the content of a completion's message must be a text, not 4"),
        (answering(message={"role": "assistant", "content": "four\ud800"}), "a client cannot receive a completion's message: the text"),
        (
            answering(message={"role": "assistant", "content": "four", "of": object()}),
            "a client cannot receive a completion's message: Object of type",
        ),
        (answering(usage={"output_tokens": 1}), "a completion's usage must be aamc_sdk.interfaces.Usage, not {'output_tokens': 1}"),
        (answering(finish_reason=None), "a completion's finish_reason must be a text such as 'stop', not None"),
        (Miscounting, "output_tokens must be a whole number of tokens of at least 0, or None if unknown, not '3'"),
        (answering(cost_usd="1"), f"a completion's cost_usd {NOT_AN_AMOUNT}, not '1'"),
        (answering(latency_ms=-5.0), f"a completion's latency_ms {NOT_AN_AMOUNT}, not -5.0"),
        (streaming(), "stream must yield at least one aamc_sdk.interfaces.Chunk"),
        (streaming(lambda: "four"), "stream must yield aamc_sdk.interfaces.Chunk objects, not str"),
        (streaming(lambda: Chunk(content=4)), "a chunk's content must be a text, not 4"),
        (streaming(lambda: Chunk(content="four", usage={})), "a chunk's usage must be aamc_sdk.interfaces.Usage or None, not {}"),
        (streaming(lambda: Chunk(content="four", finish_reason=1)), "a chunk's finish_reason must be a text such as 'stop', or None, not 1"),
        (streaming(lambda: Chunk(content="four", cost_usd=-1.0)), f"a chunk's cost_usd {NOT_AN_AMOUNT}, not -1.0"),
        (streaming(lambda: Chunk(content="four")), "the last chunk must have a finish_reason"),
        (Whole, "stream must return an asynchronous iterator, not list: write it as `async def` with `yield`"),
        (Cancelling, "CancelledError"),
        (ClosedAtOnce, "close must be a coroutine function (async def): it is awaited"),
    ],
)
def test_a_wrong_answer_is_described_without_options(offer, target, message):
    (found,) = [finding for finding in check_component("provider", "mine", offer("provider", target)) if not finding.passed]
    assert message in found.message


def test_a_provider_that_changes_the_messages_is_caught(offer):
    with pytest.raises(AssertionError, match="it answers: a call changes messages"):
        assert_conforms("provider", "mine", offer("provider", Prompting), {"reply": "4"})


def test_a_provider_that_takes_no_options_is_caught(offer):
    assert failed(offer("provider", Optionless), "provider") == {"calls take options"}


def test_a_provider_that_leaves_a_thread_is_caught(offer):
    assert failed(offer("provider", LeavesAThread), "provider") == {"its threads let the program end"}


def test_a_provider_without_a_state_is_caught(offer):
    assert failed(offer("provider", Stateless), "provider") == {"its state is known"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"available": "yes"}, "an endpoint is available or not, True or False, not 'yes'"),
        ({"remaining": "many"}, "an endpoint's remaining must be a number, or None, not 'many'"),
    ],
)
def test_a_wrong_state_is_described(offer, values, message):
    (found, *_) = [finding for finding in check_component("provider", "mine", offer("provider", stating(**values))) if not finding.passed]
    assert found.message.startswith(f"TypeError: {message}")
