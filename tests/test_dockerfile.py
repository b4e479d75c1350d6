"""The Dockerfile, read line by line, and the compose file; a build downloads gigabytes."""

import fnmatch
import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from aamc_sdk.cli import aamc
from aamc_sdk.plugins import get_plugin_manager

pytestmark = pytest.mark.one_python

ROOT = Path(__file__).parents[1]


def stages():
    """Return the instructions of each stage in order, each with its arguments; the last stage has no name."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, arguments = line.split(maxsplit=1)
            if name == "FROM":
                stage = found.setdefault(arguments.partition(" AS ")[2], [])
            stage.append((name, arguments))
    return found


@pytest.fixture(scope="module")
def instructions():
    """Return the instructions of the image with everything, which is built where no target is named."""
    assert list(stages()) == ["build", "gateway", ""]
    return stages()[""]


@pytest.fixture(scope="module")
def gateway():
    """Return the instructions of the gateway's image."""
    return stages()["gateway"]


def last(instructions, name):
    return [arguments for found, arguments in instructions if found == name][-1]


def test_a_command_replaces_the_default_one(instructions):
    """``docker run -it IMAGE bash`` gives a shell, which an entry point would take for its own argument."""
    assert "ENTRYPOINT" not in {name for name, _ in instructions}


def test_the_default_command_prints_the_help_and_trains_nothing(instructions):
    program, *arguments = json.loads(last(instructions, "CMD"))
    assert program == "aamc"
    done = CliRunner().invoke(aamc, arguments, obj=get_plugin_manager())
    assert done.exit_code == 0
    assert done.stdout.startswith("Usage: ")


def test_it_works_in_workspace_and_not_as_root(instructions):
    assert last(instructions, "WORKDIR") == "/workspace"
    assert last(instructions, "USER") == "aamc"
    commands = " && ".join(arguments for name, arguments in instructions if name == "RUN")
    assert re.search(r"mkdir /workspace && chmod 1777 .*/workspace", commands)


def test_everything_that_the_installation_reads_is_copied(instructions):
    assert [arguments for name, arguments in instructions if name == "COPY"] == [". ."]
    required = [line.split()[-1].partition("[")[0] for line in (ROOT / "requirements.txt").read_text().splitlines()]
    packages = [ROOT / name for name in required if (ROOT / name).is_dir()]
    metadata = [re.findall(r'"((?:README|LICENSE)[\w.]*)"', (package / "pyproject.toml").read_text()) for package in packages]
    read = {ROOT / "requirements.txt", ROOT / "constraints.txt"}
    read |= {package / name for package, names in zip(packages, metadata, strict=True) for name in ("pyproject.toml", *names)}
    ignored = (ROOT / ".dockerignore").read_text().split()
    for path in sorted(read):
        assert path.is_file()
        parts = path.relative_to(ROOT).parts
        for pattern in ignored:
            assert not any(fnmatch.fnmatch("/".join(parts[: n + 1]), pattern) for n in range(len(parts))), f"{path} is ignored by {pattern}"


def test_the_sources_that_run_are_compiled(instructions):
    """Editable installations run the sources in place, where the image's user cannot write bytecode."""
    (installed,) = [arguments for name, arguments in instructions if name == "RUN" and "pip install" in arguments]
    assert installed.endswith("&& python -m compileall -q aamc_sdk plugins")


@pytest.mark.parametrize("pattern", [".git", ".venv*", "runs", "**/.env*", "**/*.db*"])
def test_what_is_large_or_private_is_left_out(pattern):
    assert pattern in (ROOT / ".dockerignore").read_text().split()


def test_the_gateways_image_has_what_was_installed_and_no_sources(gateway):
    assert [arguments for name, arguments in gateway if name == "COPY"] == ["--from=build /opt/gateway /opt/gateway"]
    assert not [arguments for name, arguments in gateway if name == "RUN" and "pip" in arguments]


def test_the_gateway_does_not_run_as_root_and_keeps_its_state_in_a_folder_of_its_own(gateway):
    names = [name for name, _ in gateway]
    assert last(gateway, "USER") == "aamc"
    assert names.index("USER") < names.index("CMD")
    assert last(gateway, "WORKDIR") == "/workspace"


def test_the_gateway_needs_no_torch():
    (installed,) = [arguments for name, arguments in stages()["build"] if name == "RUN"]
    folders = re.findall(r"\./plugins/([\w-]+)", installed)
    assert "aamc-gateway" in folders
    for folder in folders:
        project = (ROOT / "plugins" / folder / "pyproject.toml").read_text()
        required = re.search(r"^dependencies = \[(.*?)\]$", project, re.DOTALL | re.MULTILINE)[1]
        assert "torch" not in required
        assert {name for name in re.findall(r'"(aamc-\w+)', required) if name != "aamc-sdk"} <= set(folders)


def test_the_gateways_command_is_understood(gateway):
    program, subcommand, *arguments = json.loads(last(gateway, "CMD"))
    assert [program, subcommand] == ["aamc", "serve"]
    assert arguments == ["--host", "0.0.0.0", "--store", "sqlite:gateway.db"]


def test_the_compose_file_passes_on_the_keys_of_all_ready_made_pools():
    """Compose reads them from a file .env, which neither git nor the image may have."""
    passed_on = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["gateway"]["environment"]
    named = set(re.findall(r"api_key_env: (\w+)", "".join(path.read_text() for path in (ROOT / "examples/pools").glob("*.yaml"))))
    assert passed_on == {name: f"${{{name}:-}}" for name in named | {"AAMC_ADMIN_KEY"}}
    assert ".env" in (ROOT / ".gitignore").read_text().split()


def test_the_compose_file_serves_on_this_machine_only_without_rights():
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["gateway"]
    assert service["build"]["target"] == "gateway"
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert any(volume.endswith(":/workspace") for volume in service["volumes"])
    (pool,) = [re.search(r":-\./(.*?)\}", volume)[1] for volume in service["volumes"] if "pool" in volume]
    assert (ROOT / pool).is_file()


def test_the_spool_of_a_log_on_a_server_is_in_the_volume(gateway):
    """The rest of the container is read-only under the compose file, and is deleted with the container."""
    assert "XDG_STATE_HOME=/workspace" in last(gateway, "ENV").split()
