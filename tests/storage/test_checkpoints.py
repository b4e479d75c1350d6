from __future__ import annotations

import errno
import json
import re
from pathlib import Path

import numpy as np
import pytest
from tiny import Tiny

from aamc_sdk import Services, builtin
from aamc_sdk.errors import CheckpointError, ConfigError, PluginError, UnknownComponentError
from aamc_sdk.interfaces import Requirements
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import LinearReward, default_pool
from aamc_sdk.storage import checkpoint_metadata, load_component, load_state, save_component, write_json


def test_a_checkpoint_of_another_schema_is_another_versions(tmp_path: Path) -> None:
    about = {"kind": "router", "name": "ppo"}
    write_json(tmp_path / "component.json", {**about, "schema": 2})
    with pytest.raises(CheckpointError, match="has schema 2, not 1: another version of the SDK made it"):
        checkpoint_metadata(tmp_path, "router")
    write_json(tmp_path / "component.json", {**about, "schema": 1})
    assert checkpoint_metadata(tmp_path, "router")["name"] == "ppo"


PLUGINS = Plugins(extra={"core": builtin, "tiny": Tiny()}, discover=False)
SERVICES = Services(pool=default_pool(), reward=LinearReward(), make=PLUGINS.make)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    estimator = PLUGINS.make("estimator", "means", SERVICES)
    estimator.means = np.array([0.25, 0.75])
    save_component(tmp_path, "estimator", "means", estimator, PLUGINS, {"rows": 3})
    return tmp_path


@pytest.mark.parametrize(
    ("metrics", "message"),
    [(None, "a mapping of metrics, not None"), ({"model": object()}, "metrics that JSON can hold: TypeError: Object of type object .*")],
)
def test_wrong_metrics_of_a_training_name_the_component_before_anything_is_written(tmp_path: Path, metrics: object, message: str) -> None:
    with pytest.raises(PluginError, match=rf"^estimator 'means': train must return {message}$"):
        save_component(tmp_path / "means", "estimator", "means", PLUGINS.make("estimator", "means", SERVICES), PLUGINS, metrics)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_component_whose_distribution_is_missing_is_named_with_it(saved: Path) -> None:
    path, of_tiny = saved / "component.json", checkpoint_metadata(saved, "estimator")
    path.write_text(json.dumps({**of_tiny, "name": "zoo-means", "distribution": "zoo", "version": "0.3"}))
    message = f"estimator 'zoo-means' of {saved} is of zoo 0.3, which is not installed, or disabled by AAMC_DISABLE_PLUGINS"
    with pytest.raises(UnknownComponentError, match=f"^{re.escape(message)}$"):
        load_component(saved, "estimator", PLUGINS, SERVICES)
    path.write_text(json.dumps({**of_tiny, "name": "zoo-means"}))
    with pytest.raises(UnknownComponentError, match=r"^no estimator is named 'zoo-means'; did you mean 'means'"):
        load_component(saved, "estimator", PLUGINS, SERVICES)


def test_a_component_that_cannot_be_saved_is_named(tmp_path: Path) -> None:
    estimator = PLUGINS.make("estimator", "means", SERVICES)
    estimator.means = object()
    with pytest.raises(PluginError, match=r"^estimator 'means' cannot be saved: TypeError: Object of type object is not JSON serializable$"):
        save_component(tmp_path, "estimator", "means", estimator, PLUGINS, {})


def test_a_router_that_requires_training_saves_something_of_it(tmp_path: Path) -> None:
    router = PLUGINS.make("router", "favourite", SERVICES)
    router.requires = Requirements(training=True)
    router.save = lambda folder: None
    with pytest.raises(PluginError, match=r"^router 'favourite' requires training, and saves nothing of it; define save and load$"):
        save_component(tmp_path, "router", "favourite", router, PLUGINS, {})


def test_a_full_disk_is_no_fault_of_the_component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    estimator = PLUGINS.make("estimator", "means", SERVICES)
    monkeypatch.setattr(estimator, "save", save)
    with pytest.raises(OSError, match="No space left") as caught:
        save_component(tmp_path, "estimator", "means", estimator, PLUGINS, {})
    assert caught.value.errno == errno.ENOSPC


def load(folder: Path) -> list[float]:
    means: list[float] = load_component(folder, "estimator", PLUGINS, SERVICES).means.tolist()
    return means


@pytest.mark.parametrize("content", ["[]", "{}", "null", '"x"', "[0.25, 0.7", "[0.25, 75]"])
def test_a_file_that_was_changed_after_the_training_is_refused(saved: Path, content: str) -> None:
    assert load(saved) == [0.25, 0.75]
    (saved / "means.json").write_text(content)
    with pytest.raises(
        CheckpointError, match=r"means\.json was changed after it was written, or its saved hash was; restore it and component\.json, or train again$"
    ):
        load(saved)


def test_a_wrong_option_of_the_caller_is_no_fault_of_the_checkpoint(saved: Path) -> None:
    with pytest.raises(ConfigError, match=r"^means has no option 'speed'"):
        load_component(saved, "estimator", PLUGINS, SERVICES, {"speed": 3})


def test_a_missing_file_is_named(saved: Path) -> None:
    (saved / "means.json").unlink()
    with pytest.raises(CheckpointError, match=r"means\.json is missing; restore the file, or train again$"):
        load(saved)


def test_the_metrics_of_a_training_may_change(saved: Path) -> None:
    write_json(saved / "training.json", {"rows": 4})
    assert load(saved) == [0.25, 0.75]


@pytest.mark.parametrize("key", ["config", "files"])
def test_a_damaged_description_is_refused(saved: Path, key: str) -> None:
    about = json.loads((saved / "component.json").read_text())
    write_json(saved / "component.json", about | {key: "x"})
    with pytest.raises(CheckpointError, match=r"component\.json is damaged: 'config' and 'files' must be JSON objects"):
        load(saved)


def test_files_that_a_component_cannot_use_are_refused_even_without_hashes(saved: Path) -> None:
    about = json.loads((saved / "component.json").read_text())
    del about["files"]
    write_json(saved / "component.json", about)
    assert load(saved) == [0.25, 0.75]

    class Strict(type(PLUGINS.make("estimator", "means", SERVICES))):  # type: ignore[misc]  # the class of a component
        def load(self, folder: Path) -> None:
            self.means = json.loads((folder / "means.json").read_text())["means"]

    with pytest.raises(CheckpointError, match=r"holds something other than what this version of Strict saves .*; restore the file, or train again$"):
        load_state(Strict(Strict.Config(), SERVICES), saved)
