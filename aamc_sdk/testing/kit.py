"""Checks of one component, or of all components of a distribution."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any

from aamc_sdk.distributions import known_distributions
from aamc_sdk.errors import PluginError, UnknownComponentError
from aamc_sdk.hookspecs import PROJECT
from aamc_sdk.messages import check_known, nearest, one_of
from aamc_sdk.plugins import KINDS, Plugin, Plugins
from aamc_sdk.testing.findings import CHECK_S, Finding, HangError, require, run_checks
from aamc_sdk.testing.subject import Subject

_CHECKS = {
    "estimator": ("estimators", "CHECKS"),
    "router": ("routers", "CHECKS"),
    "environment": ("environments", "CHECKS"),
    "reward": ("rewards", "CHECKS"),
    "model_pool": ("plain_targets", "POOL_CHECKS"),
    "dataset": ("datasets", "CHECKS"),
    "agent": ("agents", "AGENT_CHECKS"),
    "orchestrator": ("agents", "ORCHESTRATOR_CHECKS"),
    "store": ("stores", "CHECKS"),
    "provider": ("providers", "CHECKS"),
    "config_format": ("config_formats", "CHECKS"),
    "command": ("plain_targets", "COMMAND_CHECKS"),
    "check": ("plain_targets", "DIAGNOSIS_CHECKS"),
}
_HEAVY = ("torch", "transformers", "gymnasium", "sklearn", "matplotlib", "pandas")


def checks_of(kind: str) -> Sequence[Callable[[Subject], None]]:
    """Return the checks of a kind, for ``pytest.mark.parametrize``; each raises AssertionError, or SkipTest where it does not apply."""
    check_known([kind], KINDS, "there is no kind", PluginError, "kinds")
    module, name = _CHECKS[kind]
    checks: Sequence[Callable[[Subject], None]] = getattr(importlib.import_module(f"aamc_sdk.testing.checks.{module}"), name)
    return checks


def check_component(
    kind: str,
    name: str,
    plugins: Plugins,
    options: Mapping[str, Any] | None = None,
    *,
    seconds: float = CHECK_S,
    begin: Callable[[str], object] | None = None,
) -> list[Finding]:
    """Run every check of a component's kind.

    Args:
        kind: One of ``aamc_sdk.plugins.KINDS``.
        name: The component's name.
        plugins: The plugins that offer it.
        options: Options on top of preset ``quick``, for instance to shorten training.
        seconds: Time limit of a check.
        begin: Called with the component and the check before each check.

    Raises:
        UnknownComponentError: No plugin offers it.
    """
    plugins.find(kind, name)
    label = f"{kind} {name}"
    subject = Subject(kind, name, plugins, options)
    loading = run_checks(label, [check_it_loads], subject, seconds, begin)
    if not loading[0].passed:
        return loading
    findings = run_checks(label, checks_of(kind), subject, seconds, begin)
    if not any(isinstance(finding.error, HangError) for finding in findings):  # closing it would wait for what hangs
        subject.close()
    return loading + findings


def check_it_loads(subject: Subject) -> None:
    """The component's target can be imported, and is a class of its kind."""
    require(subject.target is not None, "the target is None")


def assert_conforms(kind: str, name: str, plugins: Plugins, options: Mapping[str, Any] | None = None, *, seconds: float = CHECK_S) -> None:
    """Raise AssertionError with every failed check of a component, from the first one's exception; a one-line test for plugin authors.

    A check that takes longer than ``seconds`` fails.
    """
    failed = [finding for finding in check_component(kind, name, plugins, options, seconds=seconds) if not finding.passed]
    if failed:
        raise AssertionError("\n".join(f"{finding.component}: {finding.check}: {finding.message}" for finding in failed)) from failed[0].error


def check_distribution(
    distribution: str, plugins: Plugins, *, seconds: float = CHECK_S, begin: Callable[[str], object] | None = None
) -> list[Finding]:
    """Check the plugins and all components of an installed distribution; arguments as for :func:`check_component`.

    Raises:
        UnknownComponentError: No plugin of that distribution is installed.
    """
    own = sorted((plugin for plugin in plugins.installed if plugin.distribution == distribution), key=lambda plugin: plugin.name)
    if not own:
        names = {plugin.distribution for plugin in plugins.installed}
        is_known = any(distribution in known.values() for known in known_distributions().values())
        hint = f"; install it: pip install {distribution}" if is_known else nearest(distribution, names)
        raise UnknownComponentError(f"no plugin of distribution {distribution!r} is installed{hint} (there are: {one_of(names)})")
    findings = []
    for plugin in own:
        findings += run_checks(f"plugin {plugin.name}", [check_announcing_is_light], plugin, seconds, begin)
    for failure in plugins.failures:
        if failure.plugin.distribution == distribution:
            findings.append(Finding(f"plugin {failure.plugin.name}", "can be used", False, failure.error))
    for each in plugins:
        if each.plugin.distribution != distribution:
            continue
        if each.error is None:
            findings += check_component(each.kind, each.name, plugins, seconds=seconds, begin=begin)
        else:
            findings.append(Finding(f"{each.kind} {each.name}", "can be used", False, each.error))
    return findings


def check_announcing_is_light(plugin: Plugin) -> None:
    """Importing the plugin's module imports no heavy library, so that listing plugins stays quick, and prints nothing."""
    for entry_point in metadata.entry_points(group=PROJECT, name=plugin.name):
        if entry_point.dist is None or entry_point.dist.name != plugin.distribution:  # two distributions may use one name
            continue
        importing = f"importing {entry_point.module}"
        program = f"import sys, {entry_point.module}; print('\\n', *sorted(set({_HEAVY!r}) & set(sys.modules)), end='')"
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)  # noqa: S603  # a fixed program
        require(ended.returncode == 0, f"{importing} fails: {(ended.stderr.strip().splitlines() or ['it ends the process'])[-1]}")
        printed, _, heavy = ended.stdout.rpartition("\n")
        require(not heavy.strip(), f"{importing} loads {heavy.strip()}; import it where it is used")
        require(not printed.strip(), f"{importing} prints {printed.strip()!r:.80}: standard output is for the command's result; use logging")
