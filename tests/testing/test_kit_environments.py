"""Each broken environment is caught by the check that is meant for it."""

import attrs
import numpy as np
import pytest
from offering import failed

from aamc_sdk.testing import TableEnvironment, assert_conforms, check_component
from aamc_sdk.testing.sample_data import TableStreams


class Changed(TableEnvironment):
    """Streams that a mix-in changes."""

    change: type

    def vector(self, n, split, **arguments):
        streams = super().vector(n, split, **arguments)
        streams.__class__ = type("Changed", (self.change, TableStreams), {})
        return streams


class Ending:
    def step(self, actions):
        observation, reward, terminated, truncated, info = super().step(actions)
        return observation, reward, ~terminated, truncated, info


class Lenient:
    def step(self, actions):
        *rest, info = super().step(actions)
        return *rest, info | {"masked": np.zeros(self.num_envs, dtype=bool)}


class Restless:
    noise = np.random.default_rng()

    def step(self, actions):
        observation, reward, *rest = super().step(actions)
        return observation, reward + self.noise.normal(size=len(reward)), *rest


class Grudging:
    """Pays less for a query if the decision before cost more, and says that decisions leave nothing behind."""

    cost_usd = 0.0

    def step(self, actions):
        observation, reward, *rest, info = super().step(actions)
        reward, self.cost_usd = reward - self.cost_usd, info["cost_usd"]
        return observation, reward, *rest, info


class Deaf:
    """Ignores the seed of reset."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=0)


class Unseeded(TableEnvironment):
    """Ignores the seed of vector."""

    def vector(self, n, split, *, seed=0, **arguments):
        return super().vector(n, split, **arguments)


class OwnRequest(TableEnvironment):
    """Makes its own request in place of the given one."""

    def vector(self, n, split, *, request=None, **arguments):
        return super().vector(n, split, **arguments)


class Continuing:
    """Seeds a generator once, and draws on from it after reset."""

    def reset(self, *, seed=None, options=None):
        self.resets = getattr(self, "resets", 0) + 1
        return super().reset(seed=(seed or 0) + self.resets)


class Flattering:
    """Pays more than the objectives tell."""

    def step(self, actions):
        observation, reward, *rest = super().step(actions)
        return observation, reward + 1, *rest


class Generous:
    """Lets a masked action succeed."""

    def step(self, actions):
        *rest, info = super().step(actions)
        return *rest, info | {"quality": np.ones(self.num_envs)}


class Offset:
    def step(self, actions):
        *rest, info = super().step(actions)
        return *rest, info | {"row": info["row"] + 1000}


class Laconic:
    def step(self, actions):
        *rest, info = super().step(actions)
        return *rest, {key: value for key, value in info.items() if key != "cost_usd"}


class Filling(TableEnvironment):
    """Changes its data in place."""

    def prepare(self, splits):
        super().prepare(splits)
        splits["train"].outcomes.latency_ms[:] = 1.0


class Late:
    """Reports the row of the next query."""

    def step(self, actions):
        *rest, info = super().step(actions)
        return *rest, info | {"row": self._row}


class Free:
    def step(self, actions):
        *rest, info = super().step(actions)
        return *rest, info | {"cost_usd": np.zeros(self.num_envs)}


class TestsOnTraining(TableEnvironment):
    __test__ = False

    def vector(self, n, split, **arguments):
        return super().vector(n, "train", **arguments)


class TableOfTraining(TableEnvironment):
    def dataset(self, split):
        return super().dataset("train")


class Headstrong:
    def request(self):
        return super().request().with_preference(np.array([1.0, 0.0, 0.0]))


class Blind:
    def request(self):
        return attrs.evolve(super().request(), hindsight=None)


class Abrupt:
    def step(self, actions):
        *rest, info = super().step(actions)
        return *rest, {key: value for key, value in info.items() if "final_obs" not in key}


class EndsForGood:
    """Terminates where it should truncate."""

    def step(self, actions):
        observation, reward, terminated, truncated, info = super().step(actions)
        return observation, reward, truncated, terminated, info


class OldStep:
    """Returns one flag, as Gym did."""

    def step(self, actions):
        observation, reward, _, done, info = super().step(actions)
        return observation, reward, done, info


class OldReset:
    def reset(self, **arguments):
        return super().reset(**arguments)[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (OldStep, "step must return (observation, reward, terminated, truncated, info), not 4 values"),
        (OldReset, "reset must return (observation, info), not ndarray"),
    ],
)
def test_an_environment_of_another_form_is_described_once(offer, change, message):
    findings = check_component("environment", "mine", offer("environment", type("Broken", (Changed,), {"change": change})))
    assert [finding.message.partition(" (test_kit")[0] for finding in findings if not finding.passed] == [message]


def test_a_key_that_info_lacks_is_named(offer):
    findings = check_component("environment", "mine", offer("environment", type("Broken", (Changed,), {"change": Laconic})))
    assert {finding.message.partition(" (test_kit")[0] for finding in findings if not finding.passed} == {"info lacks 'cost_usd'"}


def test_the_kits_own_environment_passes_every_check(offer):
    assert failed(offer("environment", TableEnvironment), "environment") == set()


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (Ending, "shapes of a step"),
        (Lenient, "masked actions are reported"),
        (Restless, "the same seed gives the same trajectory"),
        (Restless, "streams of one number share their randomness"),
        (Grudging, "streams in one state go on alike"),
        (Deaf, "reset follows its seed"),
        (Continuing, "reset follows its seed"),
        (Flattering, "shapes of a step"),
        (Generous, "masked actions are reported"),
        (Offset, "shapes of a step"),
        (Late, "info belongs to the query that was asked"),
        (Free, "info belongs to the query that was asked"),
        (Headstrong, "given preferences are kept"),
        (Blind, "requests have hindsight"),
        (Abrupt, "streams that are cut off show their end"),
        (EndsForGood, "streams that are cut off show their end"),
    ],
)
def test_a_broken_environment_is_caught(offer, change, check):
    assert check in failed(offer("environment", type("Broken", (Changed,), {"change": change})), "environment")


def test_an_environment_that_changes_its_data_is_caught(offer):
    assert "data stays as it was" in failed(offer("environment", Filling), "environment")


@pytest.mark.parametrize(("target", "check"), [(Unseeded, "reset follows its seed"), (OwnRequest, "a given request is played")])
def test_an_environment_that_ignores_an_argument_of_vector_is_caught(offer, target, check):
    assert failed(offer("environment", target), "environment") == {check}


@pytest.mark.parametrize("target", [TestsOnTraining, TableOfTraining])
def test_an_environment_that_tests_on_training_rows_is_caught(offer, target):
    assert failed(offer("environment", target), "environment") == {"splits are kept apart"}


class Streamless(TableEnvironment):
    def vector(self, *arguments, **given):
        return None


class Tableless(TableEnvironment):
    def dataset(self, split):
        return None


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Streamless, r"vector must return streams \(aamc_sdk.interfaces.RoutingStreams\), not None, which has no reset"),
        (Tableless, "dataset must return aamc_sdk.Dataset, not NoneType"),
    ],
)
def test_a_wrong_value_of_an_environment_is_described(offer, target, message):
    with pytest.raises(AssertionError, match=message):
        assert_conforms("environment", "mine", offer("environment", target))
