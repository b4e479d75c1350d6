"""The kit itself: components that do not load, plugins that fail, unknown names."""

import importlib
import inspect
import json
import math
import os
import subprocess
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import pytest
from offering import Offering

from aamc_sdk import Component, Scores, builtin, hookimpl
from aamc_sdk.errors import PluginError, UnknownComponentError
from aamc_sdk.interfaces import ConfigFormat, ForeignSettings, Router
from aamc_sdk.plugins import Plugins
from aamc_sdk.storage import write_json
from aamc_sdk.testing import assert_conforms, check_component, check_distribution, checks_of, run_command
from aamc_sdk.testing.findings import CHECK_S


def test_a_component_that_does_not_load_has_one_finding():
    plugins = Plugins({"mine": Offering("router")}, discover=False)
    (finding,) = check_component("router", "mine", plugins)
    assert not finding.passed
    assert "kit_target" in finding.message


def test_a_broken_plugin_is_a_finding():
    class Broken:
        @hookimpl
        def aamc_routers(self):
            raise RuntimeError("no licence")

    findings = check_distribution("broken", Plugins({"broken": Broken()}, discover=False))
    assert [finding.message for finding in findings if not finding.passed] == ["aamc_routers failed: RuntimeError: no licence"]


def test_the_command_lists_the_failures_once_more_at_the_end(monkeypatch):
    class Broken:
        @hookimpl
        def aamc_routers(self):
            return [Component("lost", "nowhere.at.all:Router", "")]

    monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: Plugins({"broken": Broken()}, discover=False))
    status, out, err = run_command("plugins", "check", "broken")
    assert (status, err) == (1, "1 passed, 1 failed, 0 skipped\n")
    (line,) = [line for line in out.splitlines() if line.startswith("FAIL")]
    assert out.endswith(f"\nFailed:\n  {line[4:].strip()}\n")


def test_checks_that_are_skipped_for_one_reason_share_a_line(monkeypatch, offer):
    monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: offer("config_format", Exampleless))
    _, out, err = run_command("plugins", "check", "config_format", "mine")
    assert "skipped  config_format mine: 4 checks: it has no example: return the content of a valid file from example\n" in out
    assert err == "3 passed, 0 failed, 4 skipped\n"


class Exampleless(ConfigFormat):
    def recognizes(self, content):
        return "gateway" in content

    def serving(self, content, path, decision=None):
        return ForeignSettings({})

    def experiment(self, content, path, decision=None, router=None):
        return {}


def test_the_command_prints_why_a_check_does_not_apply(monkeypatch):
    class Core:
        """The memory store alone, as a distribution."""

        @hookimpl
        def aamc_stores(self):
            return [Component("memory", "aamc_sdk.log:MemoryStore", "")]

    monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: Plugins({"small": Core()}, discover=False))
    status, out, err = run_command("plugins", "check", "small")
    assert status == 0
    assert "skipped  store memory: forgetting is durable: persistent is False: its log ends with the process\n" in out
    assert "ok       store memory: options have defaults and meanings\n" in out
    assert err.endswith(" passed, 0 failed, 6 skipped\n")
    document = json.loads(run_command("plugins", "check", "small", "--json")[1])
    assert [finding["skipped"] for finding in document["findings"]].count(True) == 6


class Talkative(Router):
    """Prints as it is made and as it is closed, which the kit also does outside of the checks."""

    def __init__(self, config, services):
        super().__init__(config, services)
        print("made")  # noqa: T201  # the mistake

    def score(self, request):
        return Scores(1.0 * request.mask)

    def close(self):
        print("closed")  # noqa: T201  # likewise


def test_the_commands_document_is_all_of_standard_output_whatever_a_component_prints(monkeypatch, offer):
    monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: offer("router", Talkative))
    _, out, err = run_command("plugins", "check", "router", "mine", "--json")
    assert json.loads(out)["findings"]
    assert "closed" in err


def test_unknown_names_are_errors(offer):
    plugins = offer("router", Router)
    with pytest.raises(UnknownComponentError, match="did you mean 'mine'"):
        check_component("router", "mime", plugins)
    with pytest.raises(PluginError, match="no plugin of distribution 'mime'"):
        check_distribution("mime", plugins)
    with pytest.raises(PluginError, match="did you mean 'router'"):
        checks_of("routers")


class Careless(Router):
    """Fails in a line of its own."""

    def score(self, request):
        return request.expected + 1


class Uninitialized(Router):
    def __init__(self, config, services):
        self.weight = 1.0

    def score(self, request):
        return self.services.reward.scalar(request.expected, request.preferences) * self.weight


class Reading(Router):
    """Raises an error that differs from that of a damaged file."""

    def score(self, request):
        return Scores(request.expected.known_quality)

    def save(self, folder):
        write_json(folder / "state.json", [1])

    def load(self, folder):
        [0][len((folder / "state.json").read_text())]


def messages(plugins):
    return {finding.check: finding.message for finding in check_component("router", "mine", plugins) if not finding.passed}


def test_an_error_comes_with_the_line_of_the_plugin(offer):
    place = f" ({Path(__file__).name}:{inspect.getsourcelines(Careless.score)[1] + 1})"
    assert messages(offer("router", Careless))["shapes"].endswith(place)
    place = f" ({Path(__file__).name}:{inspect.getsourcelines(Reading.load)[1] + 1})"
    assert messages(offer("router", Reading))["damaged checkpoints are refused"].endswith(place)
    with pytest.raises(AssertionError) as raised:
        assert_conforms("router", "mine", offer("router", Careless))
    assert isinstance(raised.value.__cause__, TypeError)


def test_a_forgotten_call_of_the_base_class_is_named(offer):
    expected = "AttributeError: 'Uninitialized' object has no attribute 'services'; call super().__init__(config, services) in __init__ (test_kit.py:"
    assert messages(offer("router", Uninitialized))["shapes"].startswith(expected)


def test_a_plugin_without_a_hook_is_named():
    class Silent:
        def aamc_routers(self):
            return [Component("lost", "nowhere.at.all:Router", "")]

    found = {finding.check: finding.message for finding in check_distribution("silent", Plugins({"silent": Silent()}, discover=False))}
    assert found["can be used"].startswith("loading failed: PluginError: it has no hook: write @hookimpl above each of its hooks")


def test_a_plugin_that_only_handles_events_can_be_checked():
    class Handler:
        @hookimpl
        def aamc_decided(self, decision):
            pass

    findings = check_distribution("handler", Plugins({"handler": Handler()}, discover=False))
    assert [(finding.component, finding.check, finding.passed) for finding in findings] == [("plugin handler", "announcing is light", True)]


@pytest.fixture
def announce(monkeypatch, tmp_path):
    """Return a function that checks distribution ``first``, whose plugin has the given source; another distribution has a plugin of the same name."""

    def found(source):
        sources = {"first": source, "second": "import gymnasium"}
        entries = []
        for name, text in sources.items():
            (tmp_path / f"announced_by_{name}.py").write_text(text)
            dist = types.SimpleNamespace(name=name, version="1")
            entries.append(types.SimpleNamespace(name="plugin", module=f"announced_by_{name}", dist=dist, load=Handling))
        monkeypatch.setattr(metadata, "entry_points", lambda group, name=None: entries)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        (finding,) = check_distribution("first", Plugins())
        return finding.message

    return found


class Handling:
    @hookimpl
    def aamc_decided(self, decision):
        """Handle the event."""


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import json", ""),
        ("import gymnasium", "importing announced_by_first loads gymnasium; import it where it is used"),
        (
            "print('hello from plugin')",
            "importing announced_by_first prints 'hello from plugin': standard output is for the command's result; use logging",
        ),
        ("from json import novelty", "importing announced_by_first fails: ImportError: cannot import name 'novelty' from 'json'"),
        ("import os; os._exit(3)", "importing announced_by_first fails: it ends the process"),
    ],
)
def test_the_import_of_a_plugins_module_is_described(announce, source, message):
    found = announce(source)
    assert found.startswith(message)
    assert bool(found) == bool(message)


class Hanging(Router):
    """Never scores."""

    def score(self, request):
        threading.Event().wait()


def test_a_check_that_hangs_fails_at_its_limit_and_the_others_do_not_wait_for_it(offer):
    findings = check_component("router", "mine", offer("router", Hanging), seconds=0.5)
    (failed,) = [finding for finding in findings if not finding.passed]
    line = inspect.getsourcelines(Hanging.score)[1] + 1
    assert failed.message == f"it does not end within 0.5 s ({Path(__file__).name}:{line}); raise the limit if it is only slow"
    assert {finding.message for finding in findings[findings.index(failed) + 1 :]} == {f"{failed.check!r} hangs"}
    with pytest.raises(AssertionError, match=rf"router mine: {failed.check}: it does not end within 0\.5 s"):
        assert_conforms("router", "mine", offer("router", Hanging), seconds=0.5)


def test_each_check_is_named_before_it_runs(offer):
    begun = []
    findings = check_component("router", "mine", offer("router", Hanging), seconds=0.5, begin=begun.append)
    hanging = next(number for number, finding in enumerate(findings) if not finding.passed)
    assert begun == [f"{finding.component}: {finding.check}" for finding in findings[: hanging + 1]]


class HangingInAPool(Router):
    """Never scores, in a thread for which Python waits at its end."""

    def score(self, request):
        return ThreadPoolExecutor(1).submit(threading.Event().wait).result()


def test_the_command_ends_although_a_thread_of_a_component_hangs():
    program = f"""
import sys; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}
import aamc_sdk.plugins, test_kit
from aamc_sdk import Component, hookimpl
from aamc_sdk.cli import main

class Own:
    @hookimpl
    def aamc_routers(self):
        return [Component("hanging", "test_kit:HangingInAPool", "")]

plugins = test_kit.Plugins({{"own": Own()}}, discover=False)
aamc_sdk.plugins.get_plugin_manager = lambda: plugins
sys.argv = ["aamc", "plugins", "check", "router", "hanging", "--seconds", "0.5", "--json"]
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    failed = [finding["message"] for finding in json.loads(done.stdout)["findings"] if not finding["passed"]]
    assert [message[:31] for message in failed] == ["it does not end within 0.5 s (t"]


@pytest.mark.parametrize("seconds", [math.inf, 1e12])
def test_a_limit_beyond_all_clocks_is_none(seconds):
    plugins = Plugins({"core": builtin}, discover=False)
    assert all(finding.passed for finding in check_component("store", "memory", plugins, seconds=seconds))


def test_the_checks_of_a_component_run_in_one_thread(offer):
    threads = set()

    class Noting(Router):
        def __init__(self, config, services):
            super().__init__(config, services)
            threads.add(threading.current_thread())

        def score(self, request):
            return Scores(request.expected.known_quality)

    check_component("router", "mine", offer("router", Noting))
    (thread,) = [thread for thread in threads if thread.name == "aamc-check"]
    thread.join(10)
    assert not thread.is_alive()


def test_the_command_checks_one_component_within_a_limit(monkeypatch, offer):
    class Two:
        @hookimpl
        def aamc_stores(self):
            return [Component("memory", "aamc_sdk.log:MemoryStore", ""), Component("other", "aamc_sdk.log:MemoryStore", "")]

        @hookimpl
        def aamc_routers(self):
            return [Component("hanging", f"{__name__}:Hanging", "")]

    monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: Plugins({"two": Two()}, discover=False))
    status, out, err = run_command("plugins", "check", "store", "memory", "--json")
    assert status == 0, err
    document = json.loads(out)
    assert document["distribution"] == "two"
    assert {finding["component"] for finding in document["findings"]} == {"store memory"}
    status, out, _ = run_command("plugins", "check", "router", "hanging", "--seconds", "0.5")
    assert (status, "it does not end within 0.5 s (test_kit.py:" in out) == (1, True)
    (limit,) = [option for option in importlib.import_module("aamc_sdk.cli.commands.plugins").check.params if option.name == "seconds"]
    assert limit.default == CHECK_S
    status, _, err = run_command("plugins", "check", "a", "b", "c")
    assert (status, "not 'a b c'" in err) == (2, True)
    status, _, err = run_command("plugins", "check", "store")
    assert (status, "store is a kind; name a component of it too, one of memory, other" in err) == (2, True)
