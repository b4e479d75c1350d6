"""``aamc train`` and ``aamc evaluate`` with users' interactions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aamc_experiments.personal_evaluation import SUPPORT
from click.testing import CliRunner
from taste_world import TasteWorld, WorldSettings

from aamc_sdk import MetaController
from aamc_sdk.cli import aamc
from aamc_sdk.errors import DataError

POOL = "candidates:\n" + "\n".join(f"  - {{name: model-{m}, description: trait {m}}}" for m in range(4))


def invoke(*arguments: str) -> Any:
    result = CliRunner().invoke(aamc, [*arguments, "--json"])
    return json.loads(result.stdout), result


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    world = TasteWorld.drawn(0, WorldSettings(models=4, users=40, comparisons=22))
    for name, users in (("train", world.training_users), ("unseen", world.unseen_users)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps(world.document(user)) for user in users))
    (tmp_path / "pool.yaml").write_text(POOL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_trained_router_is_evaluated_beside_its_baselines(folder: Path) -> None:
    trained, _ = invoke(
        "train",
        "--router",
        "gmtrouter",
        "--dataset",
        "interactions:train.jsonl",
        "--pool",
        "pool.yaml",
        "--set",
        "router.model=preference",
        "--out",
        "run",
    )
    assert trained["metrics"]["users"] == 14  # 70% of 20
    found, result = invoke("evaluate", "run", "--dataset", "interactions:unseen.jsonl", "--out", "evaluation")
    assert result.exit_code == 0
    assert {"gmtrouter", "bradley-terry", "user-elo", "user-ridge", "thompson"} <= set(found["routers"])
    for row in found["routers"].values():
        assert list(row["by_support"]) == ["0", "1", "3", "10"]
        for cell in (row, *row["by_support"].values()):
            low, high = cell["ci95"]["preference_auc"]
            assert 0 <= low <= cell["preference_auc"] <= high <= 1
            assert 0 <= cell["preference_accuracy"] <= 1
    own = found["routers"]["gmtrouter"]["by_support"]
    assert own["10"]["preference_auc"] > own["0"]["preference_auc"]
    assert {"metrics.json", "choices.npz", "run.yaml"} <= {path.name for path in (folder / "evaluation").iterdir()}
    tested, _ = invoke("evaluate", "run")
    assert tested["data"]["users"] == 4
    shown = CliRunner().invoke(aamc, ["evaluate", "run", "--dataset", "interactions:unseen.jsonl", "--routers", "gmtrouter"])
    assert "after 10" in shown.stdout


def test_an_estimators_embeddings_replace_hashed_words(folder: Path) -> None:
    options = ["--dataset", "interactions:train.jsonl", "--pool", "pool.yaml", "--set", "router.model=preference", "--out", "run"]
    trained, _ = invoke("train", "--router", "gmtrouter", "--estimator", "lexical", *options)
    assert trained["metrics"]["embeddings"] == "estimator"
    found, result = invoke("evaluate", "run", "--dataset", "interactions:unseen.jsonl", "--routers", "gmtrouter", "--out", "evaluation")
    assert result.exit_code == 0
    own = found["routers"]["gmtrouter"]["by_support"]
    assert own["10"]["preference_auc"] > own["0"]["preference_auc"]


def test_scores_are_bit_identical_when_later_events_are_removed_or_altered(folder: Path) -> None:
    options = ["--dataset", "interactions:train.jsonl", "--pool", "pool.yaml", "--set", "router.model=preference", "--out", "run"]
    invoke("train", "--router", "gmtrouter", *options)
    users = [json.loads(line) for line in (folder / "unseen.jsonl").read_text().splitlines()]
    for user in users:
        user["interactions"] = user["interactions"][: 2 * 13]
    (folder / "removed.jsonl").write_text("\n".join(map(json.dumps, users)))
    for user in users:
        for answer in user["interactions"][2 * 10 :]:
            answer["user_feedback"] = "positive" if answer["user_feedback"] == "negative" else "negative"
    (folder / "altered.jsonl").write_text("\n".join(map(json.dumps, users)))
    margins = {}
    for name in ("unseen", "removed", "altered"):
        invoke("evaluate", "run", "--dataset", f"interactions:{name}.jsonl", "--routers", "gmtrouter", "--out", name)
        with np.load(folder / name / "choices.npz") as found:
            margins[name] = found["margin"][0].reshape(len(SUPPORT), len(users), -1)
    assert np.array_equal(margins["unseen"][..., :3], margins["removed"])
    assert np.array_equal(margins["removed"], -margins["altered"])


def test_a_model_that_the_pool_lacks_is_an_error(folder: Path) -> None:
    (folder / "pool.yaml").write_text("candidates:\n  - {name: model-0}\n  - {name: model-1}")
    result = CliRunner().invoke(
        aamc, ["train", "--router", "gmtrouter", "--dataset", "interactions:train.jsonl", "--pool", "pool.yaml", "--out", "run"]
    )
    assert isinstance(result.exception, DataError)
    assert "names the models model-2" in str(result.exception)


@pytest.mark.parametrize("store_text", ["true", "false"])
def test_a_log_with_many_users_is_divided_by_user_and_its_users_are_known_later(folder: Path, store_text: str) -> None:
    url = f"sqlite:log.db?store_text={store_text}"
    users = [json.loads(line)["user_id"] for line in (folder / "unseen.jsonl").read_text().splitlines()]
    with MetaController.build(router="random", pool="pool.yaml", store=url, seed=0) as controller:
        for turn in range(12):
            for number, user in enumerate(users):
                decision = controller.route(f"Question {turn} of number {number}", user=user, decision_id=f"{turn}/{number}")
                controller.feedback(decision.id, quality=float((decision.candidate < "model-2") == (number % 2 == 0)))
    options = ["--dataset", f"log:{url}", "--pool", "pool.yaml", "--set", "router.steps=1", "--out", "run"]
    trained, _ = invoke("train", "--router", "gmtrouter", *options)
    assert (trained["metrics"]["users"], trained["metrics"]["held_out_users"]) == (14, 5)  # 2 of 20 in validation, 3 of 14
    tested, _ = invoke("evaluate", "run")
    assert tested["data"]["users"] == 4
    assert tested["routers"]["gmtrouter"]["by_support"]["10"]["preference_auc"] > 0.8
    tested, _ = invoke("evaluate", "run", "--dataset", "interactions:unseen.jsonl")
    assert tested["data"]["users"] == 4  # those of the test rows


def test_too_few_users_are_an_error(folder: Path) -> None:
    lines = (folder / "train.jsonl").read_text().splitlines()[:2]
    (folder / "train.jsonl").write_text("\n".join(lines))
    result = CliRunner().invoke(aamc, ["train", "--router", "gmtrouter", "--dataset", "interactions:train.jsonl", "--out", "run"])
    assert "2 groups of rows, such as users, and 3 are needed" in str(result.exception)
