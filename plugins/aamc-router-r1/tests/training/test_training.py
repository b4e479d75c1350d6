"""``aamc train --orchestrator router-r1`` with a model that is too small to learn much: the mechanics."""

import json
import math
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aamc_router_r1.config import RouterR1Config
from aamc_router_r1.data import as_dataset
from aamc_router_r1.reward import CostNormalizer
from aamc_router_r1.training.job import prepare, spaced
from aamc_router_r1.training.rollout import PlayedEpisode
from aamc_router_r1.training.stages import STATE, Job, complete
from aamc_router_r1.training.trainers import Select, check_context, grpo_arguments, last_checkpoint
from aamc_router_r1.training.trainers import arguments as warm_start_arguments
from aamc_router_r1.world import FactWorld, WorldReplies
from safetensors.torch import load_file
from tiny_model import tiny_model, tiny_tokenizer
from transformers import GPT2Config, GPT2LMHeadModel

from aamc_sdk import Training, get_plugin_manager
from aamc_sdk.errors import CheckpointError, ConfigError
from aamc_sdk.interfaces import NoProgress
from aamc_sdk.routing import default_pool
from aamc_sdk.serving import make_services
from aamc_sdk.storage import write_json
from aamc_sdk.testing import run_command
from aamc_sdk.types import Prices

SAMPLE = Path(__file__).parents[4] / "examples" / "router_r1" / "sample_routing_data.json"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model with its tokenizer."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = tiny_tokenizer(FactWorld(0))
    tiny_model(len(tokenizer), 0, 16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def arguments(model: Path, out: Path, dataset: str = "router-r1-world:0", **options: Any) -> list[str]:
    given = {
        "model": model,
        "rounds": 1,
        "turn_tokens": 6,
        "batch_size": 2,
        "group_size": 2,
        "micro_batch_size": 2,
        "steps": 2,
        "save_every": 1,
        "validation_questions": 2,
        **options,
    }
    settings = [part for name, value in given.items() for part in ("--set", f"orchestrator.{name}={value}")]
    rows = ["--set", "dataset.rows=24"] if dataset.startswith("router-r1-world") else []
    return ["train", "--orchestrator", "router-r1", "--dataset", dataset, "--device", "cpu", "--out", str(out), "--json", *rows, *settings]


def weights(folder: Path) -> dict[str, Any]:
    return load_file(folder / "model.safetensors")


def test_the_sample_records_train_by_warm_start_and_grpo(model: Path, tmp_path: Path) -> None:
    status, out, err = run_command(
        *arguments(model, tmp_path / "run", f"router-r1:{SAMPLE}", steps=1, warm_start_epochs=3, warm_start_learning_rate=0.01)
    )
    assert status == 0, err
    document = json.loads(out)  # and nothing else on standard output
    assert document["steps"] == 1
    assert {"start", "1", "last"} <= set(document["metrics"]["validation"])
    assert weights(tmp_path / "run" / "orchestrator" / "best").keys() == weights(model).keys()
    trained = tmp_path / "run" / "orchestrator" / "last"
    state = json.loads((trained / "router_r1.json").read_text())
    assert len(state["normalizer"]["roots"]) == 4  # one for each episode
    before, after = weights(model), weights(trained)
    assert any((before[key] != after[key]).any() for key in before)


def test_demonstrations_of_more_rounds_than_the_policy_has_are_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks = FactWorld(0).tasks(20, 0)
    longer, services = sum(len(task.consultations) > 1 for task in tasks), make_services(default_pool(), get_plugin_manager())
    training = Training(dataset=as_dataset(tasks, "the world", lambda _: WorldReplies()))
    prepare(RouterR1Config(rounds=2), services, training)
    assert not caplog.messages
    prepare(RouterR1Config(rounds=1), services, training)
    assert caplog.messages == [f"demonstrations of the world have up to 2 rounds, {longer} of them more than rounds=1; set orchestrator.rounds=2"]


def test_validation_is_part_of_the_spending(model: Path, tmp_path: Path) -> None:
    pool = tmp_path / "pool.yaml"
    pool.write_text("candidates: [{name: policy, prices: {input: 1, output: 1}}, {name: small}]")
    status, out, err = run_command(*arguments(model, tmp_path / "run", policy="policy", warm_start_epochs=0), "--pool", str(pool))
    assert status == 0, err
    metrics, played = json.loads(out)["metrics"], json.loads((tmp_path / "run" / "orchestrator" / "training.json").read_text())["curve"]
    validated = metrics["validation"]
    assert validated["last"] == validated["2"]  # the same policy is validated once
    played += [validated[stage] for stage in ("start", "1", "2")]
    assert metrics["spent_usd"] == pytest.approx(sum(part["cost_usd"] * part["episodes"] for part in played), rel=1e-6)
    assert metrics["spent_usd"] > 0


def test_a_training_in_which_no_reward_differs_says_that_it_learned_nothing(model: Path, tmp_path: Path) -> None:
    status, _, err = run_command(*arguments(model, tmp_path / "run", warm_start_epochs=0, rounds=0))
    assert status == 0, err
    assert "router-r1, validation before the first update: reward -1.000, exact match 0.0%, malformed 100.0%" in err
    assert "router-r1 learned nothing from its rewards" in err
    assert "100% were malformed" in err


@pytest.mark.parametrize(("budget", "made"), [("0.0000001", range(1)), ("0.0003", range(1, 5))])
def test_a_training_ends_once_its_budget_is_spent(budget: str, made: range, model: Path, tmp_path: Path) -> None:
    pool = tmp_path / "pool.yaml"
    pool.write_text("candidates: [{name: policy, prices: {input: 0, output: 4}}, {name: small}]")
    command = arguments(model, tmp_path / "run", policy="policy", warm_start_epochs=0, rounds=0, steps=5, save_every=100)
    status, out, err = run_command(*command, "--pool", str(pool), "--budget-usd", budget)
    assert status == 0, err
    metrics = json.loads(out)["metrics"]
    assert metrics["steps"] in made
    turn_usd = 2 * 2 * 6 * 4 / 1e6  # of all episodes of an update
    assert float(budget) <= metrics["spent_usd"] <= float(budget) + turn_usd
    assert f"is spent after {metrics['steps']} updates" in err


def test_a_trained_policy_is_served_in_this_process(model: Path, tmp_path: Path) -> None:
    assert run_command(*arguments(model, tmp_path / "run", steps=0, warm_start_epochs=1))[0] == 0
    pool = tmp_path / "pool.yaml"
    endpoint = f"{{provider: router-r1, checkpoint: {tmp_path / 'run'}}}"
    policy = f"{{name: policy, prices: {{input: 1, output: 1}}, endpoint: {endpoint}}}"
    pool.write_text(f"candidates: [{policy}, {{name: small, endpoint: {{provider: echo}}}}]")
    options = ["--set", "orchestrator.policy=policy", "--set", "orchestrator.turn_tokens=6", "--set", "orchestrator.rounds=1", "--json"]
    options += ["--trajectory", str(tmp_path / "trajectories.jsonl")]
    status, out, err = run_command("orchestrate", "What is the songs of item3?", "--orchestrator", "router-r1", "--pool", str(pool), *options)
    assert status in (0, 1), err
    document = json.loads(out)
    assert document["outcome"] in ("answered", "no_answer", "malformed")
    assert document["cost_usd"] > 0
    assert document["steps"][0]["candidate"] == "policy"


def test_a_trained_policy_is_trained_further(model: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    trained = arguments(model, first, steps=1, alpha=0.5, warm_start_epochs=3, warm_start_learning_rate=0.01)
    assert run_command(*trained)[0] == 0
    further = arguments(model, second, steps=0, warm_start_epochs=0)
    further = [part for part in further if part not in ("--orchestrator", "router-r1")]
    status, _, err = run_command(*further, "--from", str(first))
    assert status == 0, err
    begun, kept = (weights(run / "orchestrator" / name) for run, name in ((first, "best"), (second, "last")))
    assert all((begun[key] == kept[key]).all() for key in begun)
    assert any((weights(model)[key] != kept[key]).any() for key in kept)
    scales = [
        json.loads((run / "orchestrator" / name / "router_r1.json").read_text())["normalizer"]["roots"]
        for run, name in ((first, "best"), (second, "last"))
    ]
    assert scales[0] == scales[1] != []


KILLED = """
import os, signal, sys
from aamc_router_r1.training.trainers import Follow
from aamc_sdk.cli import main

def die(self, args, state, control, **_):
    if self._title == sys.argv[1] and state.global_step == 2:  # the trainer has written its files, and ours are missing
        os.kill(os.getpid(), signal.SIGKILL)
    saved(self, args, state, control)

saved, Follow.on_save = Follow.on_save, die
main(sys.argv[2:])
"""


TWO_STAGES = {"warm_start_epochs": 1.0, "warm_start_batch_size": 6, "steps": 3}


@pytest.fixture(scope="module")
def whole(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Weights after a training that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert run_command(*arguments(model, out, **TWO_STAGES))[0] == 0
    return weights(out / "orchestrator" / "last")


@pytest.mark.parametrize("stage", ["router-r1 warm start", "router-r1"])
def test_a_killed_training_resumes_to_the_same_policy(stage: str, model: Path, whole: dict[str, Any], tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, stage, *arguments(model, tmp_path / "run", **TWO_STAGES)], capture_output=True, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not list((tmp_path / "run").rglob("last"))
    settings = (tmp_path / "run" / "run.yaml").read_text()
    (tmp_path / "run" / "run.yaml").write_text(settings.replace("turn_tokens: 6", "turn_tokens: 5"))
    status, _, err = run_command("train", "--resume", str(tmp_path / "run"))
    assert (status, "was made with other options (turn_tokens: 6, not 5); resume with the same options" in err) == (1, True)
    (tmp_path / "run" / "run.yaml").write_text(settings)
    status, _, err = run_command("train", "--resume", str(tmp_path / "run"), "--json")
    assert status == 0, err
    curve = json.loads((tmp_path / "run" / "orchestrator" / "training.json").read_text())["curve"]
    assert [update["step"] for update in curve] == [1, 2, 3]
    resumed = weights(tmp_path / "run" / "orchestrator" / "last")
    assert all((resumed[key] == whole[key]).all() for key in whole)


KILLED_BETWEEN_CHECKPOINTS = """
import os, signal, sys
from aamc_router_r1.training.trainers import Select
from aamc_sdk.cli import main

Select.on_step_end = lambda self, args, state, control, **_: os.kill(os.getpid(), signal.SIGKILL)
main(sys.argv[1:])
"""


def test_what_a_killed_training_has_spent_counts_when_it_resumes(model: Path, tmp_path: Path) -> None:
    pool, run = tmp_path / "pool.yaml", tmp_path / "run"
    pool.write_text("candidates: [{name: policy, prices: {input: 1, output: 1}}, {name: small}]")
    command = [*arguments(model, run, policy="policy", warm_start_epochs=0, save_every=100), "--pool", str(pool)]
    killed = subprocess.run([sys.executable, "-c", KILLED_BETWEEN_CHECKPOINTS, *command], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (recorded,) = run.rglob("spent.json")
    spent_usd = json.loads(recorded.read_text())["spent_usd"]
    assert spent_usd > 0
    status, out, err = run_command("train", "--resume", str(run), "--json")
    assert status == 0, err
    metrics, played = json.loads(out)["metrics"], json.loads((run / "orchestrator" / "training.json").read_text())["curve"]
    played += [metrics["validation"][stage] for stage in ("start", "2")]
    assert metrics["spent_usd"] == pytest.approx(spent_usd + sum(part["cost_usd"] * part["episodes"] for part in played), rel=1e-6)


def job_of(tmp_path: Path, **options: Any) -> Job:
    """Return a training that is not begun, of five tasks."""
    config, tasks = RouterR1Config(**options), FactWorld(0).tasks(5, 0)
    return Job(config, tmp_path, tasks, (), cast("Any", None), Prices(0.0, 0.0), 0, "cpu", cast("Any", None))


def test_a_checkpoint_whose_weights_a_power_cut_has_zeroed_is_refused(tmp_path: Path) -> None:
    for step in (1, 2):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights")
        complete(folder, job_of(tmp_path).state())
    assert last_checkpoint(tmp_path) == str(folder)
    (folder / "model.safetensors").write_bytes(bytes(7))
    with pytest.raises(CheckpointError, match=r"model\.safetensors was changed .*delete .*checkpoint-2, and resume from the checkpoint before it"):
        last_checkpoint(tmp_path)
    shutil.rmtree(folder)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-1")


@pytest.mark.parametrize("damaged", ["{}", '{"spent_usd": null}', '{"spent_usd": NaN}'])
def test_a_damaged_record_of_the_spending_is_named(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "spent.json").write_text(damaged)
    with pytest.raises(CheckpointError, match=r"spent\.json is damaged .*; restore the file, or train again"):
        job_of(tmp_path).recorded_usd()


def test_the_questions_share_the_weights_of_the_cost_equally(tmp_path: Path) -> None:
    questions = job_of(tmp_path, batch_size=6, training_alphas=(0.0, 0.3, 0.75)).questions(4)
    assert all(sorted(alpha for _, alpha in questions[first : first + 6]) == [0.0, 0.0, 0.3, 0.3, 0.75, 0.75] for first in (0, 6, 12, 18))
    assert [sorted(task for task, _ in questions[first : first + 5]) for first in (0, 5, 10, 15)] == [[0, 1, 2, 3, 4]] * 4


@pytest.mark.parametrize(
    ("options", "argument", "value"),
    [
        ({}, "scale_rewards", "group"),
        ({"advantage_scale": "none"}, "scale_rewards", "none"),
        ({}, "lr_scheduler_type", "constant"),
        ({"learning_rate_decay": True}, "lr_scheduler_type", "linear"),
        ({}, "loss_type", "dapo"),  # the mean over the tokens of all micro-batches together, so micro_batch_size changes no result
        ({}, "gradient_checkpointing", False),
        ({"gradient_checkpointing": True}, "gradient_checkpointing", True),
    ],
)
def test_options_reach_grpo(options: dict[str, Any], argument: str, value: str, tmp_path: Path) -> None:
    assert grpo_arguments(job_of(tmp_path, **options), tmp_path, 1)[argument] == value


@pytest.mark.parametrize(("micro_batch_size", "processes", "size"), [(8, 1, 32), (8, 8, 32), (16, 4, 32), (64, 1, 32), (8, 1, 12)])
def test_the_warm_start_keeps_its_batch_size(micro_batch_size: int, processes: int, size: int, tmp_path: Path) -> None:
    job = job_of(tmp_path, micro_batch_size=micro_batch_size, processes=processes, warm_start_batch_size=size)
    found = warm_start_arguments(job, tmp_path)
    assert found["per_device_train_batch_size"] <= micro_batch_size
    assert found["per_device_train_batch_size"] * found["gradient_accumulation_steps"] * processes == size


@pytest.mark.parametrize(("questions", "count", "places"), [(12, 4, [0, 3, 6, 9]), (5, 3, [0, 1, 3]), (3, 4, [0, 1, 2]), (0, 4, [])])
def test_validation_questions_come_from_all_over_the_data(questions: int, count: int, places: list[int]) -> None:
    tasks = FactWorld(0).tasks(questions, 0)
    assert spaced(tasks, count) == [tasks[place] for place in places]


def test_an_error_in_one_of_several_processes_is_the_error_of_the_training(tmp_path: Path) -> None:
    status, _, err = run_command(*arguments(tmp_path / "missing", tmp_path / "run", processes=2, batch_size=4))
    assert status == 2
    assert err.splitlines()[-1] == f"aamc: there is no folder {tmp_path}/missing; name a folder with a causal language model, or a model on the hub"


@pytest.mark.parametrize(
    ("reward", "alphas", "kept"),
    [("paper", (0.0,), [0.9]), ("paper", (0.0, 0.3), [0.5, 0.6]), ("released", (0.3,), [0.5, 0.6]), ("vsr", (0.3,), [0.9])],
)
def test_the_start_is_the_best_only_if_the_cost_has_no_weight_or_a_scale_of_its_own(
    reward: str, alphas: tuple[float, ...], kept: list[float]
) -> None:
    rewards, found = iter([0.9, 0.5, 0.4, 0.6]), []
    job = SimpleNamespace(alphas=alphas, start=None, best=-math.inf, stages={}, spent_usd=0.0, budget_usd=math.inf, progress=NoProgress())
    job.config = RouterR1Config(reward=reward)
    job.validate = lambda *_: {"reward": next(rewards), "exact_match": 0.5, "malformed": 0.0}
    job.keep, job.spends = lambda *_: found.append(job.best), lambda: False
    trainer = SimpleNamespace(model=None, accelerator=SimpleNamespace(unwrap_model=lambda model: model), is_world_process_zero=lambda: True)
    select = Select(cast("Any", job), trainer, cast("Any", None))
    select.validate("start")
    for step in range(1, 4):
        select.on_step_end(SimpleNamespace(save_steps=1), SimpleNamespace(global_step=step, max_steps=3), None)
    assert found == kept


def test_validations_are_rewarded_on_one_scale_of_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, tokenizer = job_of(tmp_path, alpha=0.6, cost_window=9), tiny_tokenizer(FactWorld(0))
    job.validation, job.normalizer, rewards = job.tasks, CostNormalizer(9), list[float]()
    for cost_usd in (math.nan, 1.0, 0.2, 0.04):  # each update's costs fill the window

        def play(_: Any, __: Any, episodes: Sequence[PlayedEpisode], *___: Any, cost_usd: float = cost_usd) -> None:
            for episode in episodes:
                episode.dialogue.take(f"<think> I know it. </think><answer> {episode.task.golds[0]} </answer>")
                episode.cost_usd = cost_usd

        monkeypatch.setattr("aamc_router_r1.training.stages.play_all", play)
        for n in range(9):
            job.normalizer(cost_usd * n / 4)
        rewards.append(job.validate(cast("Any", None), tokenizer)["reward"])
    assert rewards[0] == pytest.approx(0.4 + 0.6 * 0.5)
    assert rewards[1] < rewards[2] < rewards[3]
    write_json(tmp_path / STATE, job.state())
    resumed = job_of(tmp_path)
    resumed.restore(tmp_path)
    assert (resumed.scale.state(), resumed.normalizer.state()) == (job.scale.state(), job.normalizer.state())


def test_lora_trains_adapters_in_bf16_and_writes_whole_models(model: Path, tmp_path: Path) -> None:
    status, _, err = run_command(
        *arguments(model, tmp_path / "run", steps=1, lora_rank=2, precision="bf16", warm_start_epochs=3, warm_start_learning_rate=0.01)
    )
    assert status == 0, err
    before, after = weights(model), weights(tmp_path / "run" / "orchestrator" / "last")
    assert before.keys() == after.keys()
    assert (before["model.embed_tokens.weight"] == after["model.embed_tokens.weight"]).all()
    assert any((before[key] != after[key]).any() for key in before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replies": "no.jsonl"}, "no.jsonl does not exist"),
        ({"training_alphas": "[2.0]"}, "numbers from 0 to 1"),
        ({"model": "/nowhere/model"}, "there is no folder /nowhere/model"),
        ({"batch_size": 3, "processes": 3}, "warm_start_batch_size, 32 demonstrations, must be a multiple of processes, 3"),
    ],
)
def test_what_cannot_be_trained_is_refused(model: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    others = {name: value for name, value in options.items() if name != "model"}
    status, out, _ = run_command(*arguments(Path(options.get("model", model)), tmp_path / "run", **others))
    assert status != 0
    assert message in json.loads(out)["error"]["message"]
    assert not (tmp_path / "run").exists()  # so the corrected command can write it


def test_a_demonstration_longer_than_learned_positions_is_refused(model: Path, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(FactWorld(0))
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=2048, n_embd=16, n_layer=1, n_head=2)).save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    first = {**json.loads(SAMPLE.read_text())[0], "reasoning": "model " * 2000}
    (tmp_path / "records.jsonl").write_text("".join(json.dumps({**first, "query": f"What is item{number}?"}) + "\n" for number in range(20)))
    status, out, _ = run_command(*arguments(tmp_path / "gpt2", tmp_path / "run", f"router-r1:{tmp_path / 'records.jsonl'}"))
    assert status != 0
    assert "takes 2048 tokens, and an episode or a demonstration may have 2" in json.loads(out)["error"]["message"]
    assert not (tmp_path / "run").exists()


def test_a_context_that_an_episode_may_exceed_is_an_error_only_for_learned_positions(caplog: pytest.LogCaptureFixture) -> None:
    learned, rotary = GPT2LMHeadModel(GPT2Config(n_positions=100, n_embd=8, n_layer=1, n_head=2)), tiny_model(20, 0, 16)
    with pytest.raises(ConfigError, match="model 'gpt2' takes 100 tokens, and an episode or a demonstration may have 101, 40 of them in the prompt"):
        check_context(learned, "gpt2", 40, 101)
    for model, episode in ((learned, 100), (rotary, 2048)):
        check_context(model, "model", 40, episode)
    assert not caplog.messages
    check_context(rotary, "lfm2", 40, 2049)
    assert "model 'lfm2' takes 2048 tokens, and an episode or a demonstration may have 2049" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 3, "micro_batch_size": 4}, "must be a multiple of micro_batch_size x processes"),
        ({"codec": "tools"}, "is trained with codec=tags"),
        ({"calls": 2}, "consult one model in a turn"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_libraries_are_loaded(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr("aamc_router_r1.training.job.import_module", lambda name: pytest.fail(f"{name} was loaded"))
    status, out, _ = run_command(*arguments(model, tmp_path / "run", **options))
    assert status != 0
    assert message in json.loads(out)["error"]["message"]
    assert not (tmp_path / "run").exists()
