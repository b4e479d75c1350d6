"""``canary`` and ``shadow``: the mixture, its propensity, what decisions note, and what is kept."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import attrs
import numpy as np
import pytest
from aamc_bandit import plugin
from aamc_bandit.trials.canary import served_by
from aamc_bandit.trials.router_pair import RouterPair
from aamc_bandit.trials.trial_log import read_trials

from aamc_sdk import Component, MetaController, Router, Scores, builtin, hookimpl, option
from aamc_sdk.config import configure
from aamc_sdk.errors import CheckpointError, ConfigError
from aamc_sdk.interfaces import OnlineRouter, Requirements
from aamc_sdk.plugins import Plugins
from aamc_sdk.storage import load_component, read_json, save_component, write_json
from aamc_sdk.testing import POOL, Subject, assert_conforms, make_dataset, make_request
from aamc_sdk.types import Experience, Query, RoutingRequest

TINY, MEDIUM, CODE, LARGE = POOL.names
OPTIONS: dict[str, Any] = {"stable": "fixed", "candidate": "counting"}


@attrs.frozen(kw_only=True)
class FixedOptions:
    """Options of ``fixed``."""

    favourite: str = option("LLM-XLarge", "who is chosen")


class Fixed(Router):
    """Always its favourite."""

    Config = FixedOptions

    def score(self, request) -> Scores:
        return Scores(np.tile([float(name == self.config.favourite) for name in request.pool.names], (len(request), 1)))


@attrs.frozen(kw_only=True)
class CountingOptions:
    """Options of ``counting``."""

    sample: bool = option(True, "whether to draw")


class Reading(Fixed):
    """Needs all that a router may need."""

    requires = Requirements(estimator=True, text=True)


class Counting(OnlineRouter):
    """Draws candidates by how often they were praised, plus one."""

    Config = CountingOptions
    snapshots = True

    def __init__(self, config, services) -> None:
        super().__init__(config, services)
        self.praise: dict[str, float] = {}

    def score(self, request) -> Scores:
        weights = np.tile([1.0 + self.praise.get(name, 0.0) for name in request.pool.names], (len(request), 1))
        return Scores(weights, weights, notes=[{"praise": sum(self.praise.values())} for _ in range(len(request))])

    def train(self, training) -> dict[str, int]:
        return {"rows": len(training.dataset)}

    def learn(self, experience: Experience) -> None:
        chosen = {decision.id: decision.candidate for decision in experience.decisions}
        for feedback in experience.feedback:
            name, replaced = feedback.candidate or chosen[feedback.decision_id], experience.replaced_by(feedback)
            earlier = 0.0 if replaced is None else replaced.average_weight * (replaced.quality or 0.0)
            self.praise[name] = self.praise.get(name, 0.0) + feedback.average_weight * (feedback.quality or 0.0) - earlier

    def save(self, folder: Path) -> None:
        write_json(folder / "praise.json", self.praise)

    def load(self, folder: Path) -> None:
        self.praise = dict(read_json(folder / "praise.json"))


class Secretive(Counting):
    """Does not tell its probabilities."""

    def score(self, request) -> Scores:
        return attrs.evolve(super().score(request), propensity_known=False)


class Forgetful(Counting):
    """Saves nothing of what it learned."""

    snapshots = False

    def save(self, folder: Path) -> None:
        pass

    def load(self, folder: Path) -> None:
        pass


class Failing(OnlineRouter):
    """Cannot score, and cannot learn."""

    def score(self, request) -> Scores:
        raise ValueError("out of order")

    def learn(self, experience: Experience) -> None:
        raise ValueError("out of order")


class Brooding(Counting):
    """Scores too late, and cannot learn."""

    def score(self, request) -> Scores:
        time.sleep(0.5)
        return super().score(request)

    def learn(self, experience: Experience) -> None:
        raise SystemExit(3)


@attrs.frozen(kw_only=True)
class BrokenOptions(CountingOptions):
    """Options of ``broken``."""

    fails: str = option("", "the method that raises")


class Broken(Counting):
    """Raises in the method that its option names."""

    Config = BrokenOptions
    repaired = False
    """Whether nothing fails."""

    def _may_fail(self, name: str) -> None:
        if name == self.config.fails and not Broken.repaired:
            raise KeyboardInterrupt if name == "learn" else ValueError("out of order")

    def attach(self, log, to_log_user) -> None:
        self._may_fail("attach")

    def origin(self) -> None:
        self._may_fail("origin")

    def prepare_replay(self, log) -> None:
        self._may_fail("prepare_replay")

    def learn(self, experience: Experience) -> None:
        self._may_fail("learn")
        super().learn(experience)

    def save(self, folder: Path) -> None:
        self._may_fail("save")
        super().save(folder)

    def load(self, folder: Path) -> None:
        self._may_fail("load")
        super().load(folder)


class Seer(Router):
    """Knows the outcomes in advance."""

    privileged = True

    def score(self, request) -> Scores:
        raise AssertionError("a privileged router is refused before it scores")


class Small:
    """The plugin that offers small routers."""

    @hookimpl
    def aamc_routers(self) -> list[Component]:
        kinds = (Fixed, Counting, Secretive, Forgetful, Reading, Failing, Brooding, Broken, Seer)
        return [Component(kind.__name__.lower(), f"{__name__}:{kind.__name__}", kind.__name__) for kind in kinds]


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins({"core": builtin, "bandit": plugin, "small": Small()}, discover=False)


def make(plugins: Plugins, name: str = "canary", **options: Any) -> RouterPair:
    router: RouterPair = Subject("router", name, plugins, {**OPTIONS, **options}).make()
    return router


def asked(rows: int) -> RoutingRequest:
    """Return requests that every candidate may answer."""
    request = make_request(make_dataset(rows))
    return attrs.evolve(request, mask=np.ones_like(request.mask), masked_why={})


def serve(plugins: Plugins, name: str = "canary", store: str = "memory:", **options: Any) -> MetaController:
    return MetaController.build(router={"name": name, **OPTIONS, **options}, pool=POOL, store=store, plugins=plugins)


@pytest.mark.parametrize("name", ["canary", "shadow"])
def test_it_passes_the_conformance_kit(name, plugins) -> None:
    assert_conforms("router", name, plugins, {"stable": "counting", "candidate": {"name": "fixed", "favourite": TINY}})


def test_the_candidate_is_drawn_from_the_mixture(plugins) -> None:
    scores = make(plugins, share=0.2).score(asked(3))
    assert scores.probabilities == pytest.approx(np.tile([0.05, 0.05, 0.05, 0.85], (3, 1)))
    assert scores.utility.argmax(axis=1).tolist() == [3, 3, 3]  # explanations are the stable router's


def test_a_masked_candidate_is_nobodys(plugins) -> None:
    request = make_request(make_dataset(1))
    mask = np.array([[True, True, False, False]])
    scores = make(plugins, share=0.5).score(attrs.evolve(request, mask=mask))
    assert scores.probabilities == pytest.approx(np.array([[0.75, 0.25, 0, 0]]))


def test_both_ends_of_the_share(plugins) -> None:
    request = asked(1)
    assert make(plugins, share=0.0).score(request).probabilities == pytest.approx(np.array([[0, 0, 0, 1.0]]))
    assert make(plugins, share=1.0).score(request).probabilities == pytest.approx(np.full((1, 4), 0.25))


def test_decisions_note_both_choices_and_have_the_mixtures_propensity(plugins) -> None:
    with serve(plugins, share=0.2) as controller:
        decision = controller.route("Hi")
    note = decision.notes["canary"]
    assert note["share"] == 0.2
    expected = {"cost_usd": {LARGE: ANY}, "latency_ms": {LARGE: ANY}}
    assert note["stable"] == {"router": "fixed", "version": ANY, "probabilities": {LARGE: 1.0}, "expected": expected}
    assert note["candidate"] == {"router": "counting", "version": ANY, "probabilities": dict.fromkeys(POOL.names, 0.25)}
    assert decision.propensity == pytest.approx(0.85 if decision.candidate == LARGE else 0.05)


def test_the_log_says_again_who_served_in_the_right_shares(plugins) -> None:
    with serve(plugins, share=0.2) as controller:
        decisions = controller.route_batch(["Hi"] * 4000, ids=[f"d{n}" for n in range(4000)])
        served = [served_by(decision) for decision in decisions]
        assert [served_by(controller.store.record(decision.id).decision) for decision in decisions[:50]] == served[:50]
    assert served.count("candidate") / 4000 == pytest.approx(0.2, abs=0.03)
    assert {served_by(decision) for decision in decisions if decision.candidate != LARGE} == {"candidate"}


def test_another_routers_decision_was_served_by_neither(plugins) -> None:
    with MetaController.build(router="fixed", pool=POOL, plugins=plugins) as controller:
        assert served_by(controller.route("Hi")) is None


@pytest.mark.parametrize("name", ["canary", "shadow"])
def test_feedback_reaches_both_and_a_restart_keeps_it(name, plugins, tmp_path) -> None:
    both = {"stable": {"name": "counting", "sample": False}}
    for _ in range(2):
        with serve(plugins, name, f"sqlite:{tmp_path}/log.db", **both) as controller:
            controller.feedback(controller.route("Hi").id, quality=1.0)
    with serve(plugins, name, f"sqlite:{tmp_path}/log.db", **both) as controller:
        router: Any = controller.router
        assert sum(router.stable.praise.values()) == sum(router.challenger.praise.values()) == 2.0


@pytest.mark.parametrize("name", ["canary", "shadow"])
@pytest.mark.parametrize(("role", "attribute"), [("stable", "stable"), ("candidate", "challenger")])
def test_around_a_router_without_snapshots_a_restart_learns_the_log_again(role, attribute, name, plugins, tmp_path) -> None:
    options = {role: {"name": "forgetful", "sample": False}}
    for learned in (0.0, 1.0):
        with serve(plugins, name, f"sqlite:{tmp_path}/log.db", **options) as controller:
            router: Any = controller.router
            assert sum(getattr(router, attribute).praise.values()) == learned
            controller.feedback(controller.route("Hi").id, quality=1.0)


def test_a_canary_without_snapshots_stays_ended_after_a_restart(plugins, tmp_path) -> None:
    for start in (True, False):
        with serve(plugins, store=f"sqlite:{tmp_path}/log.db", candidate="failing", max_failures=1) as controller:
            router: Any = controller.router
            assert (router.ended is None) == start
            controller.route("Hi")
            assert "ended" in controller.route("Hi").notes["canary"]


def test_a_name_begins_another_trial_of_a_pair_whose_trial_has_ended(plugins, tmp_path, monkeypatch) -> None:
    options = {"store": f"sqlite:{tmp_path}/log.db", "candidate": "counting", "max_failures": 1}
    for name, has_ended in (("", False), ("", True), ("second", False), ("second", True), ("third", False)):
        with serve(plugins, trial=name, **options) as controller:
            router: Any = controller.router
            assert (router.ended is not None) == has_ended
            monkeypatch.setattr(router.challenger, "score", lambda request: 1 / 0)
            controller.feedback(controller.route("Hi").id, quality=1.0)
            assert "ended" in controller.route("Hi").notes["canary"]
    with serve(plugins, **options) as controller:
        trials = read_trials(controller.store).trials
    assert [trial.candidate_version.partition("/")[2] for trial in trials] == ["", "second", "third"]
    assert all(trial.ended is not None for trial in trials)


def test_the_name_of_a_trial_is_valid_unicode(plugins) -> None:
    with pytest.raises(ConfigError, match="trial must be valid Unicode"):
        make(plugins, "canary", trial="a\ud800")


def test_training_trains_both_and_a_checkpoint_stays_as_it_is(plugins, tmp_path) -> None:
    subject = Subject("router", "canary", plugins, {"stable": "counting", "candidate": "fixed"})
    assert subject.make().train(subject.training()) == {"stable": {"rows": 60}, "candidate": {}}
    checkpoint = tmp_path / "counting"
    save_component(checkpoint, "router", "counting", trained(plugins), plugins, {})
    router = make(plugins, stable=str(checkpoint))
    assert "stable" not in router.train(subject.training())
    assert router.stable.praise == {TINY: 5.0}


def test_a_saved_canary_needs_no_checkpoint_that_it_was_made_from(plugins, tmp_path) -> None:
    checkpoint, folder = tmp_path / "counting", tmp_path / "canary"
    save_component(checkpoint, "router", "counting", trained(plugins), plugins, {})
    save_component(folder, "router", "canary", make(plugins, candidate=str(checkpoint)), plugins, {})
    for file in checkpoint.iterdir():
        file.unlink()
    again = load_component(folder, "router", plugins, Subject("router", "canary", plugins).services())
    assert again.challenger.praise == {TINY: 5.0}
    assert again.label("candidate") == str(checkpoint)
    save_component(folder, "router", "canary", again, plugins, {})  # over what is there


def trained(plugins: Plugins) -> Any:
    router = Subject("router", "counting", plugins).make()
    router.praise[TINY] = 5.0
    return router


@pytest.mark.parametrize("choice", [3, {}, {"favourite": TINY}, "", None])
def test_a_choice_that_names_no_router_is_refused(choice, plugins) -> None:
    with pytest.raises(ConfigError, match="stable must be a router's name"):
        configure(plugins.load("router", "canary").Config, {"stable": choice})


@pytest.mark.parametrize("name", ["canary", "shadow"])
def test_a_pair_needs_what_either_of_its_routers_needs(name, plugins) -> None:
    assert [make(plugins, name).requires.text, make(plugins, name).requires.estimator] == [False, False]
    for role in ("stable", "candidate"):
        pair = make(plugins, name, **{role: "reading"})
        assert [pair.requires.text, pair.requires.estimator] == [True, True]
    assert not plugins.load("router", name).requires.text


def test_a_trial_of_a_trial_is_refused(plugins) -> None:
    with pytest.raises(ConfigError, match=r"stable .* is a trial of two routers itself; name one of them"):
        make(plugins, stable={"name": "canary"}).score(asked(1))


def test_yardsticks_and_missing_checkpoints_are_refused(plugins) -> None:
    with pytest.raises(ConfigError, match="router 'seer' must know outcomes in advance, so it is for evaluation only; choose another router"):
        make(plugins, candidate="seer").score(asked(1))
    with pytest.raises(CheckpointError, match="holds no router checkpoint"):
        make(plugins, candidate="runs/none/routers/ppo").score(asked(1))


def test_a_shadow_serves_as_if_it_were_alone(plugins) -> None:
    request = asked(3)
    scores = make(plugins, "shadow", stable="counting", candidate="fixed").score(request)
    alone = make(plugins, "shadow", stable="counting", candidate="fixed").stable.score(request)
    assert scores.probabilities == pytest.approx(alone.probabilities)
    assert scores.notes[0]["praise"] == 0
    assert scores.notes[0]["shadow"] == {
        "stable": {"router": "counting", "version": ANY},
        "candidate": {
            "router": "fixed",
            "version": ANY,
            "choice": LARGE,
            "probabilities": {LARGE: 1.0},
            "utility": {TINY: 0, MEDIUM: 0, CODE: 0, LARGE: 1},
        },
    }


def test_a_shadow_that_fails_is_noted_and_nobody_notices(plugins, caplog) -> None:
    with caplog.at_level(logging.CRITICAL), serve(plugins, "shadow", stable="counting", candidate="failing") as controller:
        decision = controller.route("Hi")
        controller.feedback(decision.id, quality=1.0)
        assert controller.learner is not None
        controller.learner.flush()
        router: Any = controller.router
        assert router.stable.praise == {decision.candidate: 1.0}
    assert decision.notes["shadow"]["candidate"] == {"router": "failing", "version": ANY, "error": "ValueError('out of order')"}


async def routed(controller: MetaController) -> Any:
    return await controller.aroute("Hi", decision_id="d")


@pytest.mark.parametrize("name", ["canary", "shadow"])
def test_waiting_for_the_routers_decides_the_same(name, plugins) -> None:
    with serve(plugins, name) as controller:
        waited = asyncio.run(routed(controller))
    with serve(plugins, name) as controller:
        assert controller.route("Hi", decision_id="d").notes == waited.notes


def test_a_challenger_that_fails_fails_no_request_and_ends_the_trial(plugins, caplog) -> None:
    """The failed decisions are the stable router's, with its propensity; after some failures, the challenger is not asked any more."""
    with serve(plugins, stable="counting", candidate="failing", share=0.5, max_failures=3) as controller:
        decisions = [controller.route("Hi") for _ in range(20)]
        for decision in decisions:
            controller.feedback(decision.id, quality=1.0)
        assert controller.learner is not None
        controller.learner.flush()
        router: Any = controller.router
        assert sum(router.stable.praise.values()) == 20.0
    assert [decision.propensity for decision in decisions] == [0.25] * 20
    first, last = decisions[0].notes["canary"], decisions[-1].notes["canary"]
    assert first["candidate"] == {"router": "failing", "version": ANY, "error": "ValueError('out of order')", "probabilities": ANY}
    assert first["candidate"]["probabilities"] == first["stable"]["probabilities"]
    assert ["error" in decision.notes["canary"].get("candidate", {}) for decision in decisions] == [True] * 3 + [False] * 17
    assert last["ended"] == "it failed to score 3 times, at last with ValueError('out of order')"
    assert [served_by(decision) for decision in decisions] == ["stable"] * 20
    assert "the canary of failing has ended, and counting serves all requests: it failed to score 3 times" in caplog.text


@pytest.mark.parametrize("by_user", [False, True])
def test_decisions_that_the_challenger_failed_to_score_are_served_by_the_stable_router(by_user, plugins) -> None:
    with serve(plugins, candidate="failing", share=1.0, by_user=by_user) as controller:
        decisions = [controller.route("Hi", user="anna") for _ in range(3)]
    assert [served_by(decision) for decision in decisions] == ["stable"] * 3


def test_rare_failures_never_add_up_to_the_end_of_a_trial(plugins, monkeypatch) -> None:
    with serve(plugins, max_failures=2) as controller:
        router: Any = controller.router
        score = router.challenger.score
        for count, decisions in ((1, 50), (2, 110)):
            monkeypatch.setattr(router.challenger, "score", lambda request: 1 / 0)
            controller.route("Hi")
            monkeypatch.setattr(router.challenger, "score", score)
            assert router.ended is None, count
            controller.route_batch(["Hi"] * decisions)
        for _ in range(2):
            monkeypatch.setattr(router.challenger, "score", lambda request: 1 / 0)
            controller.route("Hi")
        assert router.ended is not None


@pytest.mark.parametrize("name", ["canary", "shadow"])
def test_a_challenger_that_takes_too_long_delays_no_request_beyond_its_limit(name, plugins) -> None:
    with serve(plugins, name, candidate="brooding", timeout_ms=20.0) as controller:
        decision = controller.route("Hi")
    assert decision.notes[name]["candidate"]["error"] == "no scores within 20 ms"
    assert decision.candidate == LARGE


def test_a_shadow_that_hangs_delays_one_request_only(plugins, monkeypatch) -> None:
    with serve(plugins, "shadow", timeout_ms=20.0) as controller:
        challenger, released, asked = controller.router.challenger, threading.Event(), []
        score = challenger.score
        monkeypatch.setattr(challenger, "score", lambda request: asked.append(released.wait(60)) or score(request))
        found = [controller.route("Hi").notes["shadow"]["candidate"]["error"] for _ in range(3)]
        assert found == ["no scores within 20 ms", *["it still scores an earlier request"] * 2]
        released.set()
        while controller.router.is_late:
            time.sleep(0.01)
        assert asked == [True]
        asked_again = controller.route("Hi").notes["shadow"]["candidate"]
        assert asked_again.get("error") in (None, "no scores within 20 ms")  # late again on a busy machine


def test_a_challenger_that_cannot_learn_ends_the_trial_and_the_stable_router_learns_on(plugins, tmp_path) -> None:
    trial = {"stable": "counting", "candidate": "brooding", "timeout_ms": 5000.0, "max_failures": 1}
    for learned in (1.0, 2.0):  # the trial stays ended after a restart
        with serve(plugins, store=f"sqlite:{tmp_path}/log.db", **trial) as controller:
            router: Any = controller.router
            assert (router.ended is None) == (learned == 1.0)
            decision = controller.route("Hi")
            controller.feedback(decision.id, quality=1.0)
            assert controller.learner is not None
            controller.learner.flush()
            assert sum(router.stable.praise.values()) == learned
            assert "it failed to learn up to position" in router.ended
            assert controller.route("Hi").notes["canary"]["ended"] == router.ended


def test_another_trial_of_the_same_routers_keeps_what_they_learned(plugins, tmp_path) -> None:
    """An earlier trial that has ended stays so."""
    options = {"store": f"sqlite:{tmp_path}/log.db", "stable": "counting", "candidate": {"name": "counting", "sample": False}}
    with serve(plugins, **options) as controller:
        router: Any = controller.router
        router.challenger_failed("fell over")
        for _ in range(3):
            controller.feedback(controller.route("Hi").id, quality=1.0)
    for trial, share, has_ended in (("second", 0.5, False), ("", 0.2, True)):
        with serve(plugins, trial=trial, share=share, **options) as controller:
            router = controller.router
            assert sum(router.stable.praise.values()) == 3.0
            assert (router.ended is not None) == has_ended
            assert controller.store.health()["snapshots"] == 1  # of one name


@pytest.mark.parametrize("name", ["canary", "shadow"])
@pytest.mark.parametrize("fails", ["attach", "origin", "prepare_replay", "save", "load", "learn"])
def test_a_challenger_that_cannot_start_keeps_the_stable_router_from_nothing(name, fails, plugins, tmp_path, monkeypatch, caplog) -> None:
    """It breaks down between two starts; the stable router goes on from its state, and learns again where a user is forgotten."""
    monkeypatch.setattr(Broken, "repaired", fails != "save")  # the state tells a challenger that cannot save from one that can
    trial = {"stable": "counting", "candidate": {"name": "broken", "fails": fails}, "store": f"sqlite:{tmp_path}/log.db"}
    with serve(plugins, name, **trial) as controller:
        controller.feedback(controller.route("Hi", user="ann").id, quality=1.0)
    monkeypatch.setattr(Broken, "repaired", False)
    caplog.clear()
    with caplog.at_level(logging.ERROR), serve(plugins, name, **trial) as controller:
        router, learner = controller.router, controller.learner
        assert learner is not None
        first = controller.route("Hi")
        controller.feedback(first.id, quality=1.0)
        learner.flush(10)
        assert sum(router.stable.praise.values()) == 2.0
        controller.forget("ann")
        learner.flush(10)
        assert learner.error is None
        assert name == "shadow" or router.ended.startswith("it failed to ")
        if name == "shadow" and fails not in ("save", "learn"):
            assert "it failed to" in first.notes["shadow"]["candidate"]["error"]
    assert "broken of a shadow failed to" in caplog.text if name == "shadow" else "canary of broken has ended" in caplog.text


@pytest.mark.parametrize("name", ["canary", "shadow"])
def test_a_checkpoint_with_a_damaged_challenger_is_refused(name, plugins, tmp_path) -> None:
    make(plugins, name).save(tmp_path)
    (tmp_path / "candidate" / "praise.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"praise\.json"):
        make(plugins, name).load(tmp_path)


def test_each_user_stays_with_one_router_and_a_larger_share_keeps_the_challengers_users(plugins) -> None:
    with serve(plugins, share=0.3, by_user=True) as controller:
        router: Any = controller.router
        roles = []
        for share in (0.3, 0.3, 0.6):
            router.share = share
            decisions = controller.route_batch([Query("Hi", user=f"user-{n}") for n in range(300)])
            roles.append([served_by(decision) for decision in decisions])
        propensities = {served_by(decision): decision.propensity for decision in decisions}
        anonymous = controller.route("Hi")
    assert roles[0] == roles[1]
    assert roles[0].count("candidate") / 300 == pytest.approx(0.3, abs=0.1)
    assert roles[2].count("candidate") / 300 == pytest.approx(0.6, abs=0.1)
    assert all(later == "candidate" for earlier, later in zip(roles[0], roles[2], strict=True) if earlier == "candidate")
    assert propensities == {"stable": 1.0, "candidate": 0.25}
    assert "role" not in anonymous.notes["canary"]


def test_a_user_is_served_by_both_routers_unless_users_are_assigned(plugins) -> None:
    with serve(plugins, share=0.5) as controller:
        decisions = controller.route_batch([Query("Hi", user="anna")] * 100, ids=[f"d{n}" for n in range(100)])
    assert {served_by(decision) for decision in decisions} == {"stable", "candidate"}
    assert {"role" in decision.notes["canary"] for decision in decisions} == {False}


@pytest.mark.parametrize(("sample", "known"), [(True, False), (False, True)])
@pytest.mark.parametrize("role", ["stable", "candidate"])
def test_a_mixture_is_known_unless_one_of_its_routers_draws_by_unknown_probabilities(role, sample, known, plugins) -> None:
    router: Any = make(plugins, **{"stable": "fixed", "candidate": "fixed", role: {"name": "secretive", "sample": sample}}, share=0.5)
    assert router.score(asked(1)).propensity_known == known


def test_the_share_follows_its_file_without_a_restart(plugins, tmp_path, caplog) -> None:
    file = tmp_path / "share"
    with serve(plugins, share=0.0, share_file=str(file)) as controller:
        assert f"the share stays 0, since {file} cannot be used" in caplog.text
        found = []
        for content in ("0.25", "1", "a lot", "1.5"):
            file.write_text(content)
            found.append(controller.route("Hi").notes["canary"]["share"])
        assert found == [0.25, 1.0, 1.0, 1.0]
        assert "share must be at most 1" in caplog.text
        router: Any = controller.router
        with pytest.raises(ConfigError, match="share must be at least 0"):
            router.share = -1
        with pytest.raises(ConfigError, match="share must be a number from 0 to 1, not 'x'"):
            router.share = "x"


@pytest.mark.parametrize(
    ("stable", "candidate", "why"),
    [
        ({"cost_usd": 0.01}, {"cost_usd": 0.2}, "its calls cost 0.2 USD on average, and the stable router's 0.01"),
        ({"latency_ms": 100.0}, {"latency_ms": 2000.0}, "its calls took 2000 ms on average, and the stable router's 100"),
        ({"latency_ms": 100.0}, {"latency_ms": 9.0, "error": "down"}, "100.0% of its calls failed, and 0.0% of the stable router's"),
        ({"latency_ms": 100.0}, {"latency_ms": 9.0, "error": "bad parameter", "status": "refused"}, None),
        ({"cost_usd": 0.01, "latency_ms": 100.0}, {"cost_usd": 0.09, "latency_ms": 900.0}, None),
        ({"cost_usd": 0.0}, {"cost_usd": 0.2}, None),
    ],
)
def test_calls_beyond_a_limit_end_the_trial(stable, candidate, why, plugins) -> None:
    with serve(plugins, candidate={"name": "fixed", "favourite": TINY}, share=0.5) as controller:
        for n in range(60):
            decision = controller.route("Hi", decision_id=f"d{n}")
            controller.attempt(decision.id, **(candidate if decision.candidate == TINY else stable))
        assert controller.learner is not None
        controller.learner.flush()
        router: Any = controller.router
        assert router.ended == why


@pytest.mark.parametrize(("failing", "why"), [(60, "100.0% of its calls failed"), (4, None)])
def test_failed_calls_end_a_trial_that_serves_everything(failing, why, plugins) -> None:
    with serve(plugins, candidate={"name": "fixed", "favourite": TINY}, share=1.0) as controller:
        for n in range(60):
            decision = controller.route("Hi", decision_id=f"d{n}")
            controller.attempt(decision.id, error="down" if n < failing else None)
        assert controller.learner is not None
        controller.learner.flush()
        router: Any = controller.router
        assert router.ended == why


def served_alone(plugins: Plugins, calls: int = 30, call: dict[str, float] | None = None, **options: Any) -> tuple[str | None, Any]:
    """Return why a canary with share 1 has ended after calls of its challenger, and what is expected of the stable router's."""
    with serve(plugins, share=1.0, **options) as controller:
        decisions = [controller.route("Hi", decision_id=f"d{n}") for n in range(calls)]
        for decision in decisions:
            controller.attempt(decision.id, **(call or {}))
        assert controller.learner is not None
        controller.learner.flush()
        router: Any = controller.router
        return router.ended, decisions[0].notes["canary"]["stable"]["expected"]


ONE_TINY = {"stable": {"name": "fixed", "favourite": TINY}, "candidate": {"name": "fixed", "favourite": LARGE}}


@pytest.mark.parametrize(("figure", "verb"), [("cost_usd", "cost"), ("latency_ms", "take")])
def test_costly_and_slow_calls_end_a_trial_that_serves_everything(figure, verb, plugins) -> None:
    """Without calls of the stable router, the challenger's are compared with what was expected of it."""
    _, expected = served_alone(plugins, calls=1, **ONE_TINY)
    usual = expected[figure][TINY]
    assert usual > 0
    why, _ = served_alone(plugins, call={figure: 11 * usual}, **ONE_TINY)
    assert why is not None
    assert why.endswith(f"on average, and the stable router's were expected to {verb} {usual:.3g}")
    assert served_alone(plugins, call={figure: 9 * usual}, **ONE_TINY)[0] is None
    assert served_alone(plugins, calls=19, call={figure: 11 * usual}, **ONE_TINY)[0] is None


def test_a_router_that_chooses_as_the_stable_one_does_is_never_too_costly(plugins) -> None:
    """The stable router's call of the same model would have cost the same, however far that is from the expectation."""
    same = {"stable": {"name": "fixed", "favourite": LARGE}, "candidate": {"name": "fixed", "favourite": LARGE}}
    assert served_alone(plugins, call={"cost_usd": 1000.0, "latency_ms": 1e6}, **same)[0] is None


def test_the_stable_routers_expectation_is_under_its_own_probabilities(plugins) -> None:
    """It draws evenly from four models; one of them is the called one, whose cost is known."""
    options = {"stable": "counting", "candidate": {"name": "fixed", "favourite": LARGE}, "max_cost_ratio": 3.0}
    _, expected = served_alone(plugins, calls=1, **options)
    others = sum(expected["cost_usd"][name] for name in (TINY, MEDIUM, CODE)) / 4
    limit = 3 * others / (1 - 3 / 4)  # cost = 3 (cost / 4 + others)
    assert served_alone(plugins, call={"cost_usd": 1.01 * limit}, **options)[0] is not None
    assert served_alone(plugins, call={"cost_usd": 0.99 * limit}, **options)[0] is None


def test_a_retrained_challenger_at_the_same_path_is_another_trial(plugins, tmp_path) -> None:
    checkpoint, store = tmp_path / "counting", f"sqlite:{tmp_path}/log.db"
    router = trained(plugins)
    for praise in (5.0, 7.0):
        router.praise[TINY] = praise
        save_component(checkpoint, "router", "counting", router, plugins, {})
        with serve(plugins, store=store, candidate=str(checkpoint)) as controller:
            controller.feedback(controller.route("Hi").id, quality=1.0)
            trials = read_trials(controller.store).trials
    assert [trial.candidate for trial in trials] == [str(checkpoint)] * 2
    assert len({trial.candidate_version for trial in trials}) == 2
    assert [len(trial.judgements) for trial in trials] == [1, 1]


def test_of_a_users_decisions_the_first_judged_one_counts_by_the_mixture(plugins) -> None:
    with serve(plugins, share=0.25, by_user=True) as controller:
        for user in ("ann", "ann", "bob"):
            controller.feedback(controller.route("Hi", user=user).id, quality=1.0)
        (trial,) = read_trials(controller.store).trials
        chosen = controller.store.experience().decisions[0].candidate
        controller.forget("bob")
        (later,) = read_trials(controller.store).trials
    assert len(trial.judgements) == 2
    assert trial.left_out == {"user_counted": 1}
    mixture = 0.75 + 0.25 / 4 if chosen == LARGE else 0.25 / 4
    assert trial.judgements[0].stable == pytest.approx((chosen == LARGE) / mixture)
    assert trial.judgements[0].candidate == pytest.approx(0.25 / mixture)
    assert later.left_out == {"user_counted": 1, "user_forgotten": 1}


def test_users_of_two_tenants_are_two_users(plugins) -> None:
    with serve(plugins, share=0.5, by_user=True) as controller:
        decisions = [controller.route("Hi", user="ann", tenant=f"tenant {number}") for number in range(40)]
        for decision in decisions:
            controller.feedback(decision.id, quality=1.0)
        (trial,) = read_trials(controller.store).trials
    assert len(trial.judgements) == 40
    assert {decision.notes["canary"]["role"] for decision in decisions} == {"stable", "candidate"}
