"""Discovery of the installed plugins and their components.

Each plugin is loaded separately: a plugin that fails is left out and reported with its error.
Components are imported when they are used, not when they are listed.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

import attrs
import pluggy

from aamc_sdk import builtin, hookspecs
from aamc_sdk.component_checks import check_class, checked_components, kind_text
from aamc_sdk.core_commands import COMMANDS
from aamc_sdk.distributions import disabled_plugins, install_hint, newer_core
from aamc_sdk.errors import AamcError, ConfigError, PluginError, UnknownComponentError
from aamc_sdk.hookspecs import PROJECT, Component
from aamc_sdk.messages import check_type, component_errors, error_text, nearest, one_of, slash_hint, unknown_name

if TYPE_CHECKING:
    from aamc_sdk.interfaces import Services

logger = logging.getLogger(__name__)

_HOOKS = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("aamc_")}
"""All hooks by name, events included."""
KINDS = {name.removeprefix("aamc_").removesuffix("s"): name for name, hook in _HOOKS.items() if not inspect.signature(hook).parameters}
"""Each kind of component, such as ``router``, and the hook that announces it, such as ``aamc_routers``; events have arguments."""


@attrs.frozen
class Plugin:
    """An installed plugin: the name of its entry point, its distribution and version."""

    name: str
    distribution: str
    version: str

    @property
    def key(self) -> str:
        """A unique name; two distributions may use the same entry point name."""
        return f"{self.distribution}/{self.name}"


@attrs.frozen
class RegisteredComponent:
    """A component, its kind, and the plugin that offers it.

    Attributes:
        kind: One of ``KINDS``.
        component: The component.
        plugin: The plugin.
        error: Why the component cannot be used beside the others; None if it can.
    """

    kind: str
    component: Component
    plugin: Plugin
    error: str | None = None

    @property
    def name(self) -> str:
        """The component's name."""
        return self.component.name

    @property
    def description(self) -> str:
        """The component with its distribution and target, for messages."""
        return f"{kind_text(self.kind)} {self.name!r} of {self.plugin.distribution} ({self.component.target})"


@attrs.frozen
class PluginFailure:
    """A plugin that failed.

    Attributes:
        plugin: The plugin.
        error: The failed hook, or ``loading``, and the error in words.
    """

    plugin: Plugin
    error: str


class Plugins:
    """The plugins of one application. Nothing is global: each instance is separate.

    Args:
        extra: More plugin objects by name, for tests and applications.
        discover: Whether to look for installed plugins.

    Attributes:
        components: The components of all plugins, unlisted ones last; iterating over the object yields the listed ones.
        failures: The plugins and hooks that failed.
    """

    def __init__(self, extra: Mapping[str, object] | None = None, discover: bool = True) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._plugins: dict[object, Plugin] = {}
        self.components: list[RegisteredComponent] = []
        self.failures: list[PluginFailure] = []
        disabled = disabled_plugins()
        if discover:
            for entry_point in sorted(metadata.entry_points(group=PROJECT), key=lambda entry_point: entry_point.name):
                distribution = entry_point.dist
                found = Plugin(entry_point.name, distribution.name if distribution else "?", distribution.version if distribution else "?")
                if not disabled & {found.name, found.distribution}:
                    self._add(found, entry_point.load)
        for name, plugin in (extra or {}).items():
            if name not in disabled:
                self._add(Plugin(name, name, "0"), lambda plugin=plugin: plugin)
        self._mark_duplicates()

    def _add(self, plugin: Plugin, load: Any) -> None:
        try:
            module = load()
            self._manager.register(module, name=plugin.key)
            self._check_hooks(module)
            self._plugins[module] = plugin  # refuses an object without a hash
        except (Exception, SystemExit) as error:  # a plugin may raise anything; the others still load
            if self._manager.has_plugin(plugin.key):
                self._manager.unregister(name=plugin.key)
            self._add_failure(plugin, "loading", error)
            return
        for kind, hook in KINDS.items():
            self._collect(module, plugin, kind, hook)

    def _check_hooks(self, module: object) -> None:
        """Check that a plugin has hooks, each of which exists, unless it is optional, and can be called."""
        hooks = self._manager.get_hookcallers(module)
        if not hooks:
            raise PluginError(f"it has no hook: write @hookimpl above each of its hooks, such as aamc_routers (hooks: {one_of(_HOOKS)})")
        for hook in hooks:
            own = [implementation for implementation in hook.get_hookimpls() if implementation.plugin is module]
            if not hook.has_spec() and not all(implementation.optionalhook for implementation in own):
                raise PluginError(unknown_name("there is no hook", hook.name, _HOOKS, "hooks"))
            if any(inspect.iscoroutinefunction(implementation.function) for implementation in own):
                raise PluginError(f"hook {hook.name} must be a plain function (def): nothing awaits it, so as `async def` it does nothing")
            is_event = hook.name not in KINDS.values()  # the others may yield components
            if any(each.wrapper or each.hookwrapper or (is_event and inspect.isgeneratorfunction(each.function)) for each in own):
                raise PluginError(f"hook {hook.name} must be a plain function (def) without yield: hooks are called one by one, none wraps others")

    def _collect(self, module: object, plugin: Plugin, kind: str, hook: str) -> None:
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            if implementation.plugin is not module:
                continue
            try:
                components = checked_components(kind, implementation.function())
            except (Exception, SystemExit) as error:  # a hook may raise anything
                self._add_failure(plugin, hook, error)
                continue
            self.components.extend(RegisteredComponent(kind, component, plugin) for component in components)

    def _add_failure(self, plugin: Plugin, where: str, error: BaseException) -> None:
        what = " ".join(error_text(error).splitlines())  # pluggy's messages have several lines
        advice = "; component hooks take no arguments, and events only their own" if "declared in the hookimpl" in what else ""
        newer = newer_core(plugin.distribution)
        self.failures.append(PluginFailure(plugin, f"{where} failed: {what}{advice}{newer and f'; {newer}'}"))

    def _mark_duplicates(self) -> None:
        """Give each component that cannot be used beside the others its error."""
        owners: dict[tuple[str, str, bool], list[Plugin]] = {}
        for each in self.components:
            owners.setdefault((each.kind, each.name, each.component.listed), []).append(each.plugin)
        commands = {name: plugins[0].distribution for (kind, name, listed), plugins in owners.items() if kind == "command" and listed}
        commands |= dict.fromkeys(COMMANDS, "aamc-sdk")
        core = self._plugins.get(builtin)
        self.components = [
            attrs.evolve(each, error=_clash(each, owners[each.kind, each.name, each.component.listed], commands, core)) for each in self.components
        ]
        self.components.sort(key=lambda each: (not each.component.listed, each.error is not None))

    def names(self, kind: str) -> list[str]:
        """Return the names of a kind's listed components, in alphabetical order."""
        return sorted({each.name for each in self if each.kind == kind})

    def find(self, kind: str, name: str) -> RegisteredComponent:
        """Return a component by its kind and name.

        Raises:
            UnknownComponentError: No plugin offers it; the message suggests the nearest name.
            PluginError: Two distributions offer it.
        """
        if kind not in KINDS:
            raise UnknownComponentError(unknown_name("there is no kind", kind, KINDS, "kinds"))
        for each in self.components:
            if (each.kind, each.name) == (kind, name):
                if each.error:
                    raise PluginError(each.error)
                return each
        names = self.names(kind)
        broken = "".join(f"; plugin {failure.plugin.name!r} is broken: {failure.error}" for failure in self.failures)
        place = slash_hint(name)
        if kind == "dataset" and os.path.exists(name):  # noqa: PTH110  # pathlib is not imported for listing
            place = f"; a file is given with its format, such as outcomes:{name}"
        elif kind == "model_pool":
            place = "; a file is given by its path, such as pool.yaml"
        hint = f"{nearest(name, names)} (there are: {one_of(names)}){install_hint(kind, name)}{place}{broken}"
        raise UnknownComponentError(f"no {kind_text(kind)} is named {name!r}{hint}")

    def load(self, kind: str, name: str) -> Any:
        """Import a component and return it.

        Raises:
            PluginError: The import fails, or the target is not a class of its kind; the message has the component, its distribution and the cause.
        """
        registered = self.find(kind, name)
        module, _, attribute = registered.component.target.partition(":")
        try:
            target = getattr(importlib.import_module(module), attribute)
        except (Exception, SystemExit) as error:  # an import may raise anything
            raise PluginError(f"{registered.description} cannot be loaded: {error_text(error)}") from error
        check_class(kind, registered.description, target)
        return target

    def make(self, kind: str, name: str, services: Services, options: Mapping[str, Any] | None = None, preset: str | None = None) -> Any:
        """Make a component from its options.

        Raises:
            ConfigError: An option is unknown or wrong.
            PluginError: The component raised an error that is not an AamcError.
        """
        from aamc_sdk.config import configure

        return self.make_with(kind, name, lambda target: target(configure(target.Config, options or {}, preset=preset, where=name), services))

    def make_with(self, kind: str, name: str, make: Callable[[Any], Any]) -> Any:
        """Make a component by a function of its class, and set its ``message_name``.

        Raises:
            PluginError: The component raised an error that is not an AamcError; the message has the component, its distribution and the cause.
        """
        target = self.load(kind, name)
        description = self.find(kind, name).description
        with component_errors(f"{description} cannot be made"):
            made = make(target)
            if hasattr(target, "Config") and not hasattr(made, "config"):
                raise PluginError(f"{description} has no config: its __init__ must call super().__init__ with the arguments that it got")
            object.__setattr__(made, "message_name", f"{kind_text(kind)} {name!r}")  # a component may be frozen
        return made

    @property
    def installed(self) -> set[Plugin]:
        """All plugins that were found, including those that failed or offer no component."""
        return {*self._plugins.values(), *(failure.plugin for failure in self.failures)}

    @property
    def event_handlers(self) -> dict[Plugin, list[str]]:
        """The plugins that handle events, each with the names of these events."""
        events = set(_HOOKS) - set(KINDS.values())
        handled = {
            plugin: sorted(events & {hook.name for hook in self._manager.get_hookcallers(module) or ()}) for module, plugin in self._plugins.items()
        }
        return {plugin: names for plugin, names in handled.items() if names}

    def has_listeners(self, event: str) -> bool:
        """Return whether any plugin implements an event."""
        return bool(getattr(self._manager.hook, event).get_hookimpls())

    def notify(self, event: str, **arguments: Any) -> None:
        """Deliver an event to every plugin, in the order of pluggy; an error of one is logged and not raised."""
        for implementation in reversed(getattr(self._manager.hook, event).get_hookimpls()):
            try:
                implementation.function(**{name: arguments[name] for name in implementation.argnames})
            except (Exception, SystemExit) as error:  # an implementation may raise anything
                name = self._plugins[implementation.plugin].name
                text = str(error) if isinstance(error, AamcError) else f"{error!r:.500}"  # that of a UnicodeEncodeError holds a whole document
                debugging = logger.isEnabledFor(logging.DEBUG)
                logger.error("plugin %s failed on %s: %s", name, event, text, exc_info=debugging)  # noqa: TRY400  # a traceback only when debugging

    def __iter__(self) -> Iterator[RegisteredComponent]:
        return (each for each in self.components if each.component.listed)


def get_plugin_manager() -> Plugins:
    """Discover the installed plugins and return a new :class:`Plugins`."""
    return Plugins()


def given_or_installed(plugins: Plugins | None) -> Plugins:
    """Return the plugins that a caller gave; the installed ones for None."""
    expected = "plugins must be an aamc_sdk.plugins.Plugins, such as get_plugin_manager returns"
    return get_plugin_manager() if plugins is None else check_type(plugins, Plugins, expected, ConfigError)


def _clash(registered: RegisteredComponent, owners: Sequence[Plugin], commands: Mapping[str, str], core: Plugin | None) -> str | None:
    """Return why a component cannot be used beside the others; None if it can.

    Args:
        registered: The component.
        owners: The plugins that offer a component of its kind and name, twice for a plugin that offers two.
        commands: The distribution of each command.
        core: The core's own plugin. Its components stay in use: another plugin must not be able to take away the default log.
    """
    kind, name, own = kind_text(registered.kind), registered.name, registered.plugin.distribution
    if len(owners) > 1:
        distributions = list(dict.fromkeys(plugin.distribution for plugin in owners))  # unique, unlike the names of plugins
        if len(distributions) == 1:
            return f"{kind} {name!r} is offered twice by {own}; rename one"
        if core in owners:
            return None if registered.plugin == core else f"{kind} {name!r} is the core's own; rename that of {own}"
        offered = f"{kind} {name!r} is offered by {' and '.join(distributions)}"
        return f"{offered}; disable one with AAMC_DISABLE_PLUGINS={' or '.join(distributions)}"
    words = name.split(" ") if kind == "command" else []
    for count in range(1, len(words) + 1):
        first = " ".join(words[:count])
        if first in commands and (first in COMMANDS or first != name):
            advice = f"rename that of {own}" if first in COMMANDS or commands[first] == own else "disable one with AAMC_DISABLE_PLUGINS"
            return f"command {name!r} of {own} can never run beside command {first!r} of {commands[first]}; {advice}"
    return None
