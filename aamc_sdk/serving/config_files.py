"""Configuration files: the format of one, and the components that it names."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from aamc_sdk.config import EXPERIMENT_KEYS, SERVER_KEYS, SERVING_KEYS, Choice, ServingSettings, load_yaml
from aamc_sdk.errors import AamcError, ConfigError, PluginError
from aamc_sdk.interfaces import ConfigFormat, ForeignSettings
from aamc_sdk.messages import check_known, check_type, component_errors, file_errors, format_errors
from aamc_sdk.plugins import Plugins
from aamc_sdk.serving.served_components import ServedComponents, components_from_settings

logger = logging.getLogger(__name__)


def components_from_file(
    path: str | Path,
    plugins: Plugins,
    *,
    decision: str | None = None,
    store: str = "memory:",
    changes: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    other_keys: Collection[str] = (),
) -> ServedComponents:
    """Return untrained components, as a configuration file names them; arguments as for :meth:`aamc_sdk.MetaController.from_file`.

    ``changes`` replace keys of the file, such as ``pool``; ``defaults`` are keys for a file of this SDK that lacks them, such as ``router``;
    ``other_keys`` are those that the caller reads itself.

    Raises:
        ConfigError: The file cannot be used, or names no router.
    """
    path = Path(path)
    content: Mapping[str, Any] = load_yaml(path)
    pool = None
    config_format = recognized_format(plugins, content)
    if config_format is not None:
        with format_errors(config_format.message_name):
            foreign = config_format.serving(content, path, decision)
        where = f"{config_format.message_name}: serving"
        check_type(foreign, ForeignSettings, f"{where} must return aamc_sdk.interfaces.ForeignSettings", PluginError)
        check_known(foreign.content, SERVING_KEYS, f"{where} returned the unknown key", PluginError, "a controller has")
        content, pool = foreign.content, foreign.pool
    else:
        content = {**(defaults or {}), **content}
        _check_keys(content, path, other_keys)
    if changes:
        content = {**content, **changes}
        pool = None if "pool" in changes else pool
    if config_format is not None and pool is None and content.get("pool") is None:
        logger.warning("%s describes no candidates, so they are those of the built-in pool; name others with the key pool: NAME|FILE", path)
    with file_errors(path, [str(store).partition(":")[0], *(changes or {}).values()]):
        return components_from_settings(
            ServingSettings.of(content), plugins, pool=pool, store=store, preference_given=content.get("preference") is not None
        )


def _check_keys(content: Mapping[str, Any], path: Path, other_keys: Collection[str]) -> None:
    """Refuse a file without a router, with an orchestrator or with an unknown key; warn of keys that nothing here reads."""
    if content.get("orchestrator"):
        named = Choice.of(content["orchestrator"], "orchestrator").name
        raise ConfigError(
            f"{path} names the orchestrator {named!r}, and requests are decided by a router; leave it out and name a router, such as router: thompson"
            " (aamc serve takes orchestrators under gateway.orchestrators)"
        )
    if "candidates" in content:
        raise ConfigError(f"{path} is a pool; pass it with --pool, or name it in a configuration file as pool: {path}")
    if "router" not in content:
        raise ConfigError(f"{path} names no router, which a controller needs; add one, such as router: thompson")
    known = (*SERVING_KEYS, *EXPERIMENT_KEYS, *SERVER_KEYS)
    check_known(content, known, f"{path}: the configuration has no option", ConfigError)
    for keys, users in ((EXPERIMENT_KEYS, "experiments"), (SERVER_KEYS, "servers")):
        if idle := [key for key in content if key in keys and key not in other_keys]:
            logger.warning("%s: without effect: %s (only %s use it)", path, ", ".join(idle), users)


def recognized_format(plugins: Plugins, content: Mapping[str, Any]) -> ConfigFormat | None:
    """Return the foreign format that recognizes a configuration file's content; None for the SDK's own.

    A file whose keys are all the SDK's is its own: no format is asked. A format that fails is left out, with a warning, if another one
    recognizes the file.

    Raises:
        PluginError: A format that may be the file's failed, or several recognize the file.
    """
    if content.keys() <= {*SERVING_KEYS, *EXPERIMENT_KEYS, *SERVER_KEYS}:
        return None
    found: list[ConfigFormat] = []
    failed: list[tuple[str, AamcError]] = []
    for each in sorted((each for each in plugins if each.kind == "config_format"), key=lambda each: each.name):
        try:
            made: ConfigFormat = plugins.make_with(each.kind, each.name, lambda target: target())
            with component_errors(f"{made.message_name} failed"):
                found += [made] if made.recognizes(content) else []
        except AamcError as error:
            failed.append((each.plugin.distribution, error))
    if failed:
        distributions = ",".join(dict.fromkeys(distribution for distribution, _ in failed))
        errors = "; ".join(str(error) for _, error in failed)
        message = f"{errors}; correct the plugin, or leave it out with AAMC_DISABLE_PLUGINS={distributions}"
        if not found:
            raise PluginError(message)
        logger.warning("%s", message)
    if len(found) > 1:
        names = " and ".join(each.message_name for each in found)
        raise PluginError(f"{names} both recognize the file; disable the plugin of one with AAMC_DISABLE_PLUGINS")
    return found[0] if found else None
