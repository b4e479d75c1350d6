import sys
import types
from importlib import metadata

import attrs
import pytest
from offering import Offering as OfferingOne

from aamc_sdk import Component, __version__, builtin, hookimpl
from aamc_sdk.distributions import newer_core
from aamc_sdk.errors import ConfigError, PluginError, UnknownComponentError
from aamc_sdk.interfaces import INTERFACES, NoOptions, Orchestrator, Router
from aamc_sdk.plugins import KINDS, Plugins, get_plugin_manager

ROUTER = Component("mine", "mine_module:Router", "A router.")


class Offering:
    """Offers one router."""

    def __init__(self, *components):
        self.components = list(components or [ROUTER])

    @hookimpl
    def aamc_routers(self):
        return self.components


class Failing:
    """One hook works, the other raises."""

    @hookimpl
    def aamc_routers(self):
        return [ROUTER]

    @hookimpl
    def aamc_estimators(self):
        raise RuntimeError("no licence")


class Misspelt:
    @hookimpl
    def aamc_roters(self):
        return []


class WantsTooMuch:
    @hookimpl
    def aamc_routers(self, pool):
        return []


class Listening:
    def __init__(self):
        self.heard = []

    @hookimpl
    def aamc_decided(self, decision):
        self.heard.append(decision)


class Deaf:
    @hookimpl
    def aamc_decided(self):
        raise ValueError("not listening")


def plugins(**extra):
    return Plugins(extra, discover=False)


def errors(found):
    return [*(failure.error for failure in found.failures), *(each.error for each in found if each.error)]


def test_the_core_offers_its_parts_by_the_same_hooks_as_anyone():
    found = {(each.kind, each.name): each.plugin.distribution for each in get_plugin_manager()}
    for own in (("reward", "linear"), ("model_pool", "default"), ("store", "sqlite"), ("store", "memory")):
        assert found[own] == "aamc-sdk"


def test_every_installed_component_has_a_summary_and_a_known_kind():
    found = get_plugin_manager()
    assert found.failures == []
    for each in found:
        assert each.kind in KINDS
        assert each.error is None
        assert each.component.summary


def test_each_instance_has_plugins_of_its_own():
    assert plugins(mine=Offering()).names("router") == ["mine"]
    assert plugins().names("router") == []


def test_a_hook_that_raises_leaves_the_plugins_other_hooks_and_other_plugins_alone():
    found = plugins(failing=Failing(), other=Offering(Component("other", "a:b", "")))
    assert found.names("router") == ["mine", "other"]
    assert errors(found) == ["aamc_estimators failed: RuntimeError: no licence"]


@pytest.mark.parametrize(
    ("plugin", "message"), [(Misspelt(), "aamc_roters"), (WantsTooMuch(), "; component hooks take no arguments, and events only their own")]
)
def test_a_hook_that_is_not_specified_is_reported_and_the_plugin_left_out(plugin, message):
    found = plugins(wrong=plugin, fine=Offering())
    assert found.names("router") == ["mine"]
    (error,) = errors(found)
    assert error.startswith("loading failed")
    assert message in error
    assert "\n" not in error


def test_a_misspelt_hook_is_an_error_with_the_nearest():
    (error,) = errors(plugins(wrong=Misspelt()))
    assert error.startswith("loading failed: PluginError: there is no hook 'aamc_roters'; did you mean 'aamc_routers'? (hooks: aamc_agents, ")


def test_a_hook_that_nothing_would_await_is_an_error():
    class Later:
        @hookimpl
        async def aamc_decided(self, decision):
            """Would never run."""

    found = plugins(later=Later())
    assert errors(found) == [
        "loading failed: PluginError: hook aamc_decided must be a plain function (def): nothing awaits it, so as `async def` it does nothing"
    ]
    assert not found.has_listeners("aamc_decided")


@pytest.mark.parametrize("wraps", [True, False])
def test_a_hook_that_would_wrap_others_is_an_error(wraps):
    class Wrapping:
        @hookimpl(wrapper=wraps)
        def aamc_decided(self, decision):
            yield

    found = plugins(wrapping=Wrapping())
    (error,) = errors(found)
    assert "hook aamc_decided must be a plain function (def) without yield" in error or (wraps and "wrapper" in error)
    assert not found.has_listeners("aamc_decided")


def test_components_may_be_yielded():
    class Yielding:
        @hookimpl
        def aamc_routers(self):
            yield Component("one", "tiny:TinyRouter", "One.")

    found = plugins(yielding=Yielding())
    assert errors(found) == []
    assert "one" in found.names("router")


def test_events_are_delivered_in_the_order_of_pluggy():
    heard = []

    def handler(name, **order):
        class Handler:
            @hookimpl(**order)
            def aamc_decided(self, decision):
                heard.append(name)

        return Handler()

    found = plugins(one=handler("last", trylast=True), two=handler("third"), three=handler("second"), four=handler("first", tryfirst=True))
    found.notify("aamc_decided", decision=None)
    assert heard == ["first", "second", "third", "last"]


def test_a_plugin_without_a_hash_is_an_error_of_its_own():
    class Unhashable:
        __hash__ = None

        @hookimpl
        def aamc_decided(self, decision):
            """Never called."""

    (error,) = errors(plugins(wrong=Unhashable()))
    assert "unhashable" in error


def test_the_events_that_a_plugin_handles_are_listed():
    class Handler(Offering):
        @hookimpl
        def aamc_run_finished(self, folder):
            """Handle the event."""

        @hookimpl
        def aamc_decided(self, decision):
            """Handle the event."""

    found = plugins(handler=Handler(), other=Offering(Component("other", "a:b", "")))
    assert {plugin.name: events for plugin, events in found.event_handlers.items()} == {"handler": ["aamc_decided", "aamc_run_finished"]}


LIST = "a component hook must return a list of aamc_sdk.Component, not "
TARGET = "component 'x' must name its class as 'package.module:Class', not "
NAMED = "the name of a router must begin with a letter or digit and hold only letters, digits, '-', '_' and '.', not "


@pytest.mark.parametrize(
    ("offered", "message"),
    [
        (None, f"{LIST}None"),
        (ROUTER, f"{LIST}{ROUTER!r}"),
        (["ppo"], f"{LIST}of str"),
        ([("ppo", "a:b", "")], f"{LIST}of tuple"),
        ([Component("x", "no_colon", "")], f"{TARGET}'no_colon'"),
        ([Component("x", "a:b:c", "")], f"{TARGET}'a:b:c'"),
        ([Component("x", Offering, "")], f"{TARGET}{Offering!r}"),
        *(([Component(name, "a:b", "")], f"{NAMED}{name!r}") for name in ("", "a,b", "a/b", "a b", "-a", ".a", "a:b", 3)),
    ],
)
def test_a_hook_that_offers_something_else_is_reported(offered, message):
    class Wrong:
        @hookimpl
        def aamc_routers(self):
            return offered

    found = plugins(wrong=Wrong(), fine=Offering())
    assert found.names("router") == ["mine"]
    assert errors(found) == [f"aamc_routers failed: PluginError: {message}"]


@pytest.mark.parametrize("summary", ["red\nand two", "\x1b[31mred", "one\u2028two", 3])
def test_a_summary_that_is_not_one_line_is_reported(summary):
    (error,) = errors(plugins(wrong=Offering(Component("x", "a:b", summary))))
    assert "PluginError: the summary of component 'x' must be one line without control characters, not " in error


@pytest.mark.parametrize("name", ["", "a  b", "a/b", " a"])
def test_a_command_whose_path_cannot_be_typed_is_reported(name):
    (error,) = errors(plugins(mine=OfferingCommands(name)))
    assert error.endswith(f"'-', '_' and '.', or be several such words, not {name!r}")


def test_no_estimator_can_be_named_none():
    class Wrong:
        @hookimpl
        def aamc_estimators(self):
            return [Component("none", "a:b", "")]

    assert "no estimator can be named 'none'" in errors(plugins(wrong=Wrong()))[0]


def test_two_components_of_one_kind_and_name_are_an_error_that_names_both():
    found = plugins(one=Offering(), two=Offering(), three=Offering(Component("other", "a:b", "")))
    with pytest.raises(PluginError, match="router 'mine' is offered by one and two; disable one with AAMC_DISABLE_PLUGINS=one or two"):
        found.find("router", "mine")
    assert found.find("router", "other").plugin.name == "three"


def test_a_component_of_the_core_stays_in_use_where_a_plugin_offers_its_name():
    class Taking:
        @hookimpl
        def aamc_stores(self):
            return [Component("sqlite", "a:b", "")]

    found = Plugins({"a": Taking(), "core": builtin, "z": Taking()}, discover=False)
    assert found.find("store", "sqlite").plugin.name == "core"
    assert errors(found) == ["store 'sqlite' is the core's own; rename that of a", "store 'sqlite' is the core's own; rename that of z"]


def test_a_plugin_that_offers_one_name_twice_is_told_so():
    found = plugins(one=Offering(ROUTER, ROUTER))
    assert errors(found) == ["router 'mine' is offered twice by one; rename one"] * 2


class OfferingCommands:
    """Offers commands of these names."""

    def __init__(self, *names):
        self.names = names

    @hookimpl
    def aamc_commands(self):
        return [Component(name, "a:b", "A command.") for name in self.names]


def test_a_command_of_the_cores_name_or_below_it_is_an_error_as_it_can_never_run():
    found = plugins(mine=OfferingCommands("route", "feedback add", "routes"))
    assert errors(found) == [
        "command 'route' of mine can never run beside command 'route' of aamc-sdk; rename that of mine",
        "command 'feedback add' of mine can never run beside command 'feedback' of aamc-sdk; rename that of mine",
    ]


def test_a_command_below_another_command_is_an_error_that_names_both():
    found = plugins(one=OfferingCommands("data convert", "data fetch", "database"), two=OfferingCommands("data"))
    assert errors(found) == [
        f"command 'data {name}' of one can never run beside command 'data' of two; disable one with AAMC_DISABLE_PLUGINS"
        for name in ("convert", "fetch")
    ]
    assert found.find("command", "data").plugin.name == "two"


def test_a_command_below_one_of_the_same_plugin_is_to_be_renamed():
    found = plugins(one=OfferingCommands("group", "group sub"))
    assert errors(found) == ["command 'group sub' of one can never run beside command 'group' of one; rename that of one"]


def test_disabled_plugins_are_left_out(monkeypatch):
    monkeypatch.setenv("AAMC_DISABLE_PLUGINS", " one , core")
    assert plugins(one=Offering(), two=Offering()).find("router", "mine").plugin.name == "two"
    assert "linear" not in get_plugin_manager().names("reward")


def test_a_distributions_name_disables_its_plugins(monkeypatch):
    monkeypatch.setenv("AAMC_DISABLE_PLUGINS", "aamc-sdk")
    assert "linear" not in get_plugin_manager().names("reward")


def test_a_hook_that_exits_is_left_out_like_one_that_raises():
    class Leaving:
        @hookimpl
        def aamc_stores(self):
            raise SystemExit(3)

    found = plugins(leaving=Leaving(), mine=Offering())
    assert found.find("router", "mine").plugin.name == "mine"
    assert any("SystemExit" in failure.error for failure in found.failures)


def test_an_unknown_name_is_an_error_with_the_nearest():
    with pytest.raises(UnknownComponentError, match=r"no router is named 'mind'; did you mean 'mine'\? \(there are: mine\)"):
        plugins(mine=Offering()).find("router", "mind")


def test_an_unknown_name_tells_of_broken_plugins():
    with pytest.raises(UnknownComponentError, match="plugin 'wrong' is broken"):
        plugins(wrong=Misspelt()).find("router", "mine")


class Entry:
    """An entry point of a distribution that is not installed."""

    def __init__(self, name, distribution, load):
        self.name = name
        self.dist = types.SimpleNamespace(name=distribution, version="1")
        self.load = load


def entry_points(monkeypatch, *entries):
    monkeypatch.setattr(metadata, "entry_points", lambda group: list(entries))


def test_a_plugin_that_raises_on_import_harms_no_other(monkeypatch):
    def explode():
        raise ImportError("no module named torch")

    def leave():
        sys.exit("I will not be imported")

    entry_points(monkeypatch, Entry("bad", "bad-dist", explode), Entry("rude", "rude-dist", leave), Entry("good", "good-dist", Offering))
    found = Plugins()
    assert found.names("router") == ["mine"]
    assert errors(found) == ["loading failed: ImportError: no module named torch", "loading failed: SystemExit: I will not be imported"]


def test_two_distributions_may_use_one_plugin_name(monkeypatch):
    first, second = Listening(), Offering()
    entry_points(monkeypatch, Entry("acme", "acme-one", lambda: first), Entry("acme", "acme-two", lambda: second))
    found = Plugins()
    assert errors(found) == []
    found.notify("aamc_decided", decision="d")
    assert first.heard == ["d"]
    assert found.find("router", "mine").plugin.distribution == "acme-two"


def test_the_advice_on_two_plugins_of_one_name_leaves_one_of_them(monkeypatch):
    entry_points(monkeypatch, Entry("plugin", "acme-one", Offering), Entry("plugin", "acme-two", Offering))
    advice = "router 'mine' is offered by acme-one and acme-two; disable one with AAMC_DISABLE_PLUGINS=acme-one or acme-two"
    assert errors(Plugins()) == [advice, advice]
    monkeypatch.setenv("AAMC_DISABLE_PLUGINS", "acme-one")
    assert Plugins().find("router", "mine").plugin.distribution == "acme-two"


@pytest.mark.parametrize(
    ("requirement", "is_newer"),
    [
        ("aamc-sdk>=99", True),
        ("aamc_sdk[test] (>=99.1,<100)", True),
        ("aamc-sdk>=0.1", False),
        ("aamc-sdk", False),
        ("aamc-sdk-extras>=99", False),
        ('aamc-sdk>=99; extra == "new"', False),
    ],
)
def test_a_broken_plugin_for_a_newer_version_of_the_sdk_says_so(monkeypatch, requirement, is_newer):
    def explode():
        raise ImportError("cannot import name 'Novelty' from 'aamc_sdk'")

    entry_points(monkeypatch, Entry("new", "new-dist", explode))
    monkeypatch.setattr(metadata, "requires", lambda name: ["numpy>=99", requirement])
    advice = f"; new-dist requires {requirement}, and {__version__} is installed; pip install --upgrade aamc-sdk" if is_newer else ""
    assert errors(Plugins()) == [f"loading failed: ImportError: cannot import name 'Novelty' from 'aamc_sdk'{advice}"]


@pytest.mark.parametrize(
    ("minimum", "installed", "is_newer"), [("0.2.0", "0.2", False), ("1", "1.0.0", False), ("0.2.1", "0.2", True), ("1", "0.9.9", True)]
)
def test_versions_are_compared_as_if_both_had_three_numbers(monkeypatch, minimum, installed, is_newer):
    monkeypatch.setattr(metadata, "requires", lambda name: [f"aamc-sdk>={minimum}"])
    monkeypatch.setattr(metadata, "version", lambda name: installed)
    assert bool(newer_core("new-dist")) is is_newer


class Mine(Router):
    def score(self, request):
        raise NotImplementedError


@pytest.fixture
def mine(monkeypatch):
    """Return a function that makes plugins whose component ``mine`` of a kind is the given target."""

    def offered(kind, target):
        monkeypatch.setitem(sys.modules, "mine_module", types.SimpleNamespace(Router=target))
        return plugins(mine=OfferingOne(kind, ROUTER.target))

    return offered


def test_a_component_is_imported_when_it_is_used(mine):
    assert mine("router", Mine).load("router", "mine") is Mine


@pytest.mark.parametrize("target", ["no_such_module:Router", "aamc_sdk.errors:NoSuchClass"])
def test_a_component_that_cannot_be_loaded_names_its_distribution_and_the_cause(target):
    found = plugins(mine=Offering(Component("mine", target, "")))
    with pytest.raises(PluginError, match=rf"router 'mine' of mine \({target}\) cannot be loaded: (ModuleNotFound|Attribute)Error"):
        found.load("router", "mine")


def test_a_component_is_made_from_its_options_and_knows_its_name(mine):
    found = mine("router", Mine)
    made = found.make("router", "mine", "services")
    assert (made.config, made.services) == (NoOptions(), "services")
    assert made.message_name == "router 'mine'"
    assert Mine(NoOptions(), "services").message_name == "Mine"
    with pytest.raises(ConfigError, match="mine has no option 'depth'"):
        found.make("router", "mine", "services", {"depth": 3})


def test_a_frozen_component_gets_its_name_too(mine):
    @attrs.frozen
    class Frozen(Mine):
        config: object
        services: object

    assert mine("router", Frozen).make("router", "mine", "services").message_name == "router 'mine'"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("model_pool", "command", "check")])
@pytest.mark.parametrize("target", [dict, "Router", lambda config, services: None])
def test_a_target_that_is_no_class_of_its_kind_is_an_error_that_names_its_distribution(mine, kind, target):
    with pytest.raises(
        PluginError,
        match=rf"^{kind.replace('_', ' ')} 'mine' of mine \(mine_module:Router\) must be a class that derives from aamc_sdk\.interfaces\.",
    ):
        mine(kind, target).load(kind, "mine")


@pytest.mark.parametrize(
    ("name", "value", "expected"), [("Config", dict, "an attrs class of its options"), ("requires", (), "aamc_sdk.Requirements")]
)
def test_a_class_with_a_wrong_declaration_is_an_error_that_names_its_distribution(mine, name, value, expected):
    with pytest.raises(PluginError, match=rf"^{name} of router 'mine' of mine \(mine_module:Router\) must be {expected}, not "):
        mine("router", type("Wrong", (Mine,), {name: value})).load("router", "mine")


def test_a_default_dataset_that_is_no_text_is_an_error_that_names_the_orchestrator(mine):
    with pytest.raises(
        PluginError, match=r"^default_dataset of orchestrator 'mine' of mine \(mine_module:Router\) must be text such as 'tasks:mixed'"
    ):
        mine("orchestrator", type("Wrong", (Orchestrator,), {"default_dataset": 5})).load("orchestrator", "mine")


@pytest.mark.parametrize("kind", ["environment", "orchestrator", "agent", "reward", "provider", "dataset", "estimator", "router"])
def test_a_component_that_cannot_be_made_names_its_distribution_and_the_cause(mine, kind):
    def raises(self, config, services):
        raise KeyError("weights")

    target = type("Broken", (INTERFACES[kind],), {"__init__": raises, "__abstractmethods__": ()})
    with pytest.raises(PluginError, match=rf"^{kind} 'mine' of mine \(mine_module:Router\) cannot be made: "):
        mine(kind, target).make(kind, "mine", "services")


def test_a_component_that_does_not_call_its_base_class_is_told_so(mine):
    class Independent(Router):
        def __init__(self, config, services):
            self.services = services

        def score(self, request):
            raise NotImplementedError

    with pytest.raises(PluginError, match=r"^router 'mine' of mine \(mine_module:Router\) has no config: its __init__ must call super"):
        mine("router", Independent).make("router", "mine", "services")


def test_an_event_reaches_every_plugin_though_one_raises(caplog):
    listening = Listening()
    found = plugins(deaf=Deaf(), listening=listening)
    found.notify("aamc_decided", decision="d")
    assert listening.heard == ["d"]
    assert "plugin deaf failed on aamc_decided" in caplog.text


def test_a_long_error_of_an_event_is_cut_in_the_log(caplog, monkeypatch):
    monkeypatch.setattr(Listening, "aamc_decided", hookimpl(lambda self, decision: decision.encode()))
    plugins(listening=Listening()).notify("aamc_decided", decision="a" * 100_000 + "\udcf6")
    assert "UnicodeEncodeError('utf-8'" in caplog.text
    assert len(caplog.text) < 1000
