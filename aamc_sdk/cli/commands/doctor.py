"""``aamc doctor``: checks the installation, with the core's own checks: versions, requirements, plugins, torch, runs and logs."""

from __future__ import annotations

import os
import platform
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import wait
from contextlib import closing
from functools import partial
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click
from click.core import ParameterSource

from aamc_sdk import __version__
from aamc_sdk.cli.invocation import leave_threads_behind, plugins_of
from aamc_sdk.cli.options import JSON, RUN
from aamc_sdk.cli.output import write_json_line
from aamc_sdk.concurrency import run_on_own_thread
from aamc_sdk.errors import AamcError, PluginError
from aamc_sdk.interfaces import Diagnosis, public_url
from aamc_sdk.interfaces.diagnoses import BROKEN, OK, WARNING
from aamc_sdk.messages import check_type, error_text, quantity, split_advice

if TYPE_CHECKING:
    from aamc_sdk.plugins import Plugin, Plugins

SUBJECT_WIDTH = 32
"""Width of the column of subjects; a longer one, such as a URL, moves the state of its line to the right."""
CHECK_S = 60.0
"""Time limit of a plugin's check: on a slow disk, importing torch alone takes half a minute."""
_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")


@click.command()
@RUN
@click.option("--store", "stores", metavar="URL", multiple=True, help="URL of a log to reach; repeatable.")
@JSON
@click.pass_context
def doctor(ctx: click.Context, run: Path, stores: tuple[str, ...], as_json: bool) -> None:
    """Check the installation: versions, plugins, torch and devices, encoders, logs and the sandbox, each problem with its fix.

    The exit status is 1 if a required part is broken.

    Example: aamc doctor --store postgres://db/aamc
    """
    is_needed = ctx.get_parameter_source("run") is not ParameterSource.DEFAULT
    leave_threads_behind(ctx)  # a plugin's check may hang
    found = []
    for diagnosis in _diagnoses(plugins_of(ctx), run, is_needed, stores):
        found.append(diagnosis)
        if not as_json:
            label = "hint" if diagnosis.status == OK else "to do"
            advice = f"\n{'':9}{label}: {diagnosis.advice}" if diagnosis.advice else ""
            click.echo(f"{diagnosis.status:<7}  {diagnosis.subject:<{SUBJECT_WIDTH}}  {diagnosis.state}{advice}")
    counts = Counter(diagnosis.status for diagnosis in found)
    if as_json:
        write_json_line({"schema": 1, "ok": not counts[BROKEN], "checks": [attrs.asdict(diagnosis) for diagnosis in found]})
    else:
        click.echo(f"{counts[BROKEN]} broken, {quantity(counts[WARNING], 'warning')}", err=True)
    ctx.exit(1 if counts[BROKEN] else 0)


def _diagnoses(plugins: Plugins, run: Path, is_needed: bool, stores: tuple[str, ...]) -> Iterator[Diagnosis]:
    yield from _check_versions(plugins)
    yield from _check_plugins(plugins)
    for name in plugins.names("check"):
        yield from _checked(name, plugins)
    yield from _check_run(run, plugins, is_needed=is_needed)
    for url in stores:
        yield _check_store(url, plugins)


def _checked(name: str, plugins: Plugins) -> Iterator[Diagnosis]:
    """Yield a plugin's diagnoses; a check that fails, or does not end in time, is reported as a diagnosis."""
    try:
        check, plugin = plugins.load("check", name), plugins.find("check", name).plugin
    except PluginError:
        return  # _check_plugins reports it
    called = run_on_own_thread(partial(_called, check), f"aamc-check-{name}")
    advice = f"report it to the authors of {plugin.distribution}, or leave it out with AAMC_DISABLE_PLUGINS={plugin.distribution}"
    if not wait([called], CHECK_S).done:
        yield Diagnosis(f"check {name}", f"did not end within {CHECK_S:g} s", BROKEN, advice)
        return
    try:
        yield from called.result()
    except (Exception, SystemExit) as error:  # a plugin's check may raise anything
        yield Diagnosis(f"check {name}", " ".join(f"failed: {error_text(error)}".split()), BROKEN, advice)


def _called(check: Callable[[], Iterable[Diagnosis]]) -> list[Diagnosis]:
    diagnoses = check_type(check(), Iterable, "it must return a list of aamc_sdk.interfaces.Diagnosis")
    return [check_type(found, Diagnosis, "it must return aamc_sdk.interfaces.Diagnosis objects") for found in diagnoses]


def _check_versions(plugins: Plugins) -> Iterator[Diagnosis]:
    """Check Python, and each distribution with plugins: its version and its requirements."""
    from aamc_sdk.distributions import known_distributions, newer_core

    state = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {quantity(os.cpu_count() or 1, 'processor')}"
    yield Diagnosis("Python", state)
    own = {name for known in known_distributions().values() for name in known.values()}
    versions = {plugin.distribution: plugin.version for plugin in plugins.installed}
    for distribution, version in sorted(versions.items()):
        count = quantity(sum(each.plugin.distribution == distribution for each in plugins), "component")
        if missing := _missing_requirements(distribution):
            yield Diagnosis(distribution, f"{version}: {', '.join(missing)} not installed", BROKEN, f"pip install {' '.join(missing)}")
        elif newer := newer_core(distribution):
            required, advice = split_advice(newer)
            yield Diagnosis(distribution, f"{version}: {required}", BROKEN, advice)
        elif distribution in own and version != __version__:
            advice = f"pip install --upgrade {distribution} aamc-sdk"
            yield Diagnosis(distribution, f"{version} with aamc-sdk {__version__}, {count}", WARNING, advice)
        else:
            yield Diagnosis(distribution, f"{version}, {count}")
    if disabled := os.environ.get("AAMC_DISABLE_PLUGINS"):
        yield Diagnosis("AAMC_DISABLE_PLUGINS", f"leaves out {disabled}", WARNING, "unset it to use these plugins")


def _missing_requirements(distribution: str) -> list[str]:
    """Return the required distributions that are not installed; those that only some systems or extras need do not count."""
    try:
        required = [text for text in metadata.requires(distribution) or () if ";" not in text]
    except metadata.PackageNotFoundError:  # a plugin that an application registers has no distribution
        return []
    names = [found[0] for text in required if (found := _REQUIREMENT.match(text))]
    return [name for name in names if not any(metadata.distributions(name=name))]


def _check_plugins(plugins: Plugins) -> Iterator[Diagnosis]:
    """Check that every plugin could announce its components, and that each of them can be imported."""
    found = [_broken(f"plugin {failure.plugin.name}", failure.error, failure.plugin) for failure in plugins.failures]
    for each in plugins.components:
        subject = f"{each.kind} {each.name}"
        if each.error:  # beside another component, whose plugin may be the wrong one
            error, advice = split_advice(each.error)
            found.append(Diagnosis(subject, error, BROKEN, advice))
            continue
        try:
            plugins.load(each.kind, each.name)
        except PluginError as failure:
            found.append(_broken(subject, str(failure), each.plugin))
    yield from found or [Diagnosis("components", f"all {len(plugins.components)} can be imported")]


def _broken(subject: str, error: str, plugin: Plugin) -> Diagnosis:
    advice = f"correct or reinstall {plugin.distribution}, or leave it out with AAMC_DISABLE_PLUGINS={plugin.distribution}"
    return Diagnosis(subject, " ".join(error.split()), BROKEN, advice)


def check_torch() -> list[Diagnosis]:
    """Check torch and its devices."""
    if find_spec("torch") is None:
        return [Diagnosis("torch", "not installed; no installed plugin requires it")]
    try:
        torch = import_module("torch")
    except (ImportError, OSError) as error:  # a library of the system may be missing
        return [Diagnosis("torch", f"cannot be imported: {error}", BROKEN, "pip install --force-reinstall torch")]
    found = [Diagnosis("torch", f"{torch.__version__}, {quantity(torch.get_num_threads(), 'thread')}")]
    for n in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(n)
        has_bf16 = torch.cuda.get_device_capability(n) >= (8, 0)
        found.append(Diagnosis(f"GPU {n}", f"{about.name}, {about.total_memory / 2**30:.0f} GiB, {'bf16' if has_bf16 else 'no bf16: fp16 instead'}"))
    if torch.version.cuda and len(found) == 1:
        advice = "on a machine with a GPU, check its driver with nvidia-smi"
        found.append(Diagnosis("GPU", f"none, though torch is built for CUDA {torch.version.cuda}; the CPU computes", WARNING, advice))
    return found


def check_folder() -> list[Diagnosis]:
    """Check that runs can be written here."""
    here = Path.cwd()
    if os.access(here, os.W_OK):
        return [Diagnosis("working folder", f"{here}, writable")]
    return [Diagnosis("working folder", f"{here} is not writable", WARNING, "work in another folder, or name one with --out and --store")]


def _check_run(folder: Path, plugins: Plugins, *, is_needed: bool) -> Iterator[Diagnosis]:
    """Check that a run can be served, and its log read."""
    from aamc_sdk.serving import Run, components_from_run

    subject = f"run {folder}"
    if not is_needed and not (folder / "run.yaml").is_file():
        yield Diagnosis(subject, "none yet", advice="make one with: aamc run")
        return
    try:
        run, served = Run.open(folder), components_from_run(folder, plugins, store="memory:")
    except AamcError as error:
        state, advice = split_advice(" ".join(str(error).split()))
        yield Diagnosis(subject, state, BROKEN if is_needed else WARNING, advice or "train again with: aamc run")
        return
    yield Diagnosis(subject, f"router {served.router_name}, {quantity(len(served.pool), 'candidate')}")
    if (run.folder / "log.db").is_file():
        yield _check_store(run.store_url, plugins)


def _check_store(url: str, plugins: Plugins) -> Diagnosis:
    """Check that a log can be reached."""
    from aamc_sdk.log import open_store

    subject = f"store {public_url(url)}"
    try:
        with closing(open_store(url, plugins, existing=True)) as store:
            health = store.health()
    except (AamcError, OSError) as error:
        state, advice = split_advice(" ".join(str(error).split()))
        return Diagnosis(subject, state, BROKEN, advice or "check the URL, and that the server runs")
    return Diagnosis(subject, ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in health.items() if value) or "reachable")
