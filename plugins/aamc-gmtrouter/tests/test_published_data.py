"""``aamc evaluate`` reads folders in the layout of GMTRouter's published data; the lines are made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from aamc_sdk.cli import aamc
from aamc_sdk.errors import DataError

MODELS = ("gpt-4", "claude-v1", "vicuna-13b-v1.2", "alpaca-13b")
PARTS = ("training_set", "valid_set", "test_set")
# Ratings of a liked and of another answer, exchanges of a conversation, and answers that a judge compares.
SHAPES = {
    "chatbot_arena": ((1, 0), 1, 2),
    "gsm8k": ((0.9, 0.4), 1, 4),
    "mmlu": ((0.8, 0.1), 1, 4),
    "mt_bench": ((9, 3), 2, 2),
}


def lines(name: str, judges: int) -> Iterator[dict[str, Any]]:
    """Yield answers to twelve questions, rated by judges; half of them like the first models and half the last ones."""
    (liked, other), exchanges, compared = SHAPES[name]
    draw = np.random.default_rng(len(name))
    for judge in range(judges):
        for question in range(12):
            for place in sorted(draw.choice(len(MODELS), compared, replace=False).tolist()):
                rating = liked if (place < 2) == (judge % 2 == 0) else other
                said = [
                    {"query": f"question {question}.{n} of {name}", "response": f"answer {place}", "rating": rating, "query_emb": [0.1, 0.2]}
                    for n in range(exchanges)
                ]
                common = {"judge": f"{name}_{judge}", "model": MODELS[place], "question_id": question, "turn": exchanges}
                yield {**common, "conversation": said, "model_emb": [0.3, 0.4], "encoder": "an encoder"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the four folders, and train on the first one's."""
    folder = tmp_path_factory.mktemp("published")
    for name in SHAPES:
        (folder / name).mkdir()
        own = list(lines(name, 12))
        for part, some in zip(PARTS, np.array_split(np.arange(len(own)), 3), strict=True):
            (folder / name / f"{part}.jsonl").write_text("\n".join(json.dumps(own[row]) for row in some))
    (folder / "pool.yaml").write_text("candidates:\n" + "\n".join(f"  - {{name: {name}, description: The model {name}.}}" for name in MODELS))
    arguments = ["--dataset", f"interactions:{folder / 'mt_bench'}", "--pool", str(folder / "pool.yaml"), "--set", "router.model=preference"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # where runs/latest is linked
        trained = CliRunner().invoke(aamc, ["train", "--router", "gmtrouter", *arguments, "--out", str(folder / "run")])
    assert trained.exit_code == 0, trained.output
    return folder


@pytest.mark.parametrize("name", SHAPES)
def test_a_folder_of_each_name_is_evaluated_beside_the_baselines(data: Path, name: str) -> None:
    result = CliRunner().invoke(aamc, ["evaluate", str(data / "run"), "--dataset", f"interactions:{data / name}", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert name in found["data"]["source"]
    assert found["data"]["users"] == (2 if name == "mt_bench" else 12)  # judges that it was trained on are left out
    assert {"gmtrouter", "bradley-terry", "user-elo", "user-ridge"} <= set(found["routers"])
    own, common = (found["routers"][router]["by_support"]["3"] for router in ("gmtrouter", "bradley-terry"))
    assert own["preference_auc"] > 0.9 > common["preference_auc"]
    assert own["preference_accuracy"] > 0.9


def test_a_model_that_the_run_does_not_know_is_named(data: Path, tmp_path: Path) -> None:
    strange = [{**line, "model": line["model"].replace("gpt-4", "gpt-5")} for line in lines("mmlu", 12)]
    (tmp_path / "strange.jsonl").write_text("\n".join(map(json.dumps, strange)))
    result = CliRunner().invoke(aamc, ["evaluate", str(data / "run"), "--dataset", f"interactions:{tmp_path / 'strange.jsonl'}"])
    assert isinstance(result.exception, DataError)
    assert "gpt-5" in str(result.exception)
