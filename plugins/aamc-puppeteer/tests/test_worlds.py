"""Worlds whose optimum is known: what they refuse, what their optimum pays for, and that one whose agents may fail is learned."""

from collections.abc import Mapping

import attrs
import pytest
from aamc_agents.state import TaskState
from aamc_puppeteer.config import PuppeteerConfig
from aamc_puppeteer.episodes.rewards import EpisodeReward
from aamc_puppeteer.episodes.trajectory import Stop, Trajectory
from aamc_puppeteer.testbed import AgentWorld, Kind, WorldAgent

from aamc_sdk.errors import ConfigError

OFFICE = AgentWorld(
    agents=(
        WorldAgent(name="archivist", description="Looks things up in the files.", cost=0.4),
        WorldAgent(name="clerk", description="Fills forms.", cost=0.05),
        WorldAgent(name="notary", description="Certifies documents.", cost=0.15),
        WorldAgent(name="partner", description="Does everything, at a price.", cost=4.0),
        WorldAgent(name="intern", description="Tries.", cost=0.02),
    ),
    kinds=(
        Kind(
            name="claim",
            text="The roof of house {number} was damaged. Settle it.",
            moves={
                ("start", "archivist"): {"policy": 0.75, "start": 0.25},
                ("policy", "clerk"): {"settled": 0.9, "policy": 0.1},
                ("start", "partner"): {"settled": 1.0},
                ("start", "intern"): {"guess": 1.0},
            },
            solved={"policy": 0.1, "settled": 0.95, "guess": 0.15},
        ),
        Kind(
            name="deed",
            text="Transfer plot {number} to the buyer.",
            moves={
                ("start", "clerk"): {"form": 1.0},
                ("form", "archivist"): {"checked": 0.7, "flawed": 0.3},
                ("flawed", "clerk"): {"form": 1.0},
                ("checked", "notary"): {"sealed": 1.0},
                ("form", "notary"): {"void": 1.0},
            },
            solved={"checked": 0.3, "sealed": 0.98},
        ),
    ),
    steps=7,
)


def test_a_world_of_several_turns_that_may_fail_is_learned() -> None:
    puppeteer = OFFICE.puppeteer(preset="quick", updates=200)
    puppeteer.fit(OFFICE.tasks(200))
    trajectories = puppeteer.play(OFFICE.tasks(600, seed=11), sample=True, seed=1)
    puppeteer.close()
    assert OFFICE.share_of_optimum(trajectories) > 0.9


def test_what_episodes_earn_is_discounted_and_counted_alike() -> None:
    ended = Trajectory(state=TaskState(task=OFFICE.tasks(1)[0], steps_left=5), stop=Stop.STOPPED)
    earned = [attrs.evolve(ended, rewards=rewards) for rewards in ((-0.1, 1.0), (-0.3, 0.0, 0.0))]
    rule = EpisodeReward(cost_weight=0.1, discount=0.5)
    world = attrs.evolve(OFFICE, rule=rule)
    assert world.share_of_optimum(earned) == pytest.approx((0.4 - 0.3) / 2 / world.optimum)


def test_its_puppeteer_is_paid_as_its_optimum_is() -> None:
    puppeteer = OFFICE.puppeteer(updates=3)
    assert (puppeteer.config.rule, puppeteer.config.max_steps, puppeteer.config.updates) == (OFFICE.rule, 7, 3)


def test_a_rule_and_the_options_have_the_same_defaults() -> None:
    assert PuppeteerConfig().rule == EpisodeReward()


def test_tasks_of_a_kind_differ_in_their_numbers() -> None:
    texts = {task.text for task in OFFICE.tasks(40)}
    assert len(texts) > 30
    assert texts.isdisjoint(task.text for task in OFFICE.tasks(4, seed=1))
    assert not any("{" in text for text in texts)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"solved": {"start": 0.5}}, "no answer at the start"),
        ({"moves": {("start", "a"): {"b": 0.5, "c": 0.5}}, "says": {"b": "done", "c": "done"}}, "different things"),
        ({"moves": {("start", "a"): {"b": 0.5}}}, "sum to 1"),
    ],
)
def test_a_kind_whose_optimum_would_be_another_than_what_is_paid_is_refused(wrong: Mapping[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Kind(name="k", text="Do it.", **wrong)  # type: ignore[arg-type]  # what differs from case to case
