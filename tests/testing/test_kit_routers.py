"""Each broken router is caught by the check that is meant for it."""

import itertools
import json
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import attrs
import numpy as np
import pytest
from offering import failed

from aamc_sdk import Requirements, Scores, option
from aamc_sdk.errors import CheckpointError
from aamc_sdk.interfaces import AsyncRouter, NoOptions, OnlineRouter, Router
from aamc_sdk.routing import LinearReward
from aamc_sdk.storage import read_json, to_json, write_json
from aamc_sdk.testing import assert_conforms, check_component, checks_of
from aamc_sdk.types import Feedback, tenant_user


@attrs.frozen(kw_only=True)
class Options:
    strength: float = option(0.1, "how much the training means count", at_least=0)
    sample: bool = option(True, "draw decisions from the probabilities")


class FairRouter(OnlineRouter):
    """Greedy on the expected reward, with a bonus for candidates that did well in training and service."""

    Config = Options
    snapshots = True
    bonus: dict = {}  # noqa: RUF012  # replaced, never changed
    judged: dict = {}  # noqa: RUF012  # likewise: sum of qualities and number of them, by candidate

    def train(self, training):
        self.bonus = dict(zip(training.dataset.pool.names, np.nanmean(training.dataset.outcomes.quality, axis=0).tolist(), strict=True))
        return {"curve": [{"step": 0, "quality": max(self.bonus.values())}]}

    def score(self, request):
        bonus = np.array([self.bonus.get(name, 0.0) + self.mean(name) for name in request.pool.names])
        utility = self.services.reward.scalar(request.expected, request.preferences) + self.config.strength * bonus
        return Scores(utility, np.exp(utility) / np.exp(utility).sum(axis=1, keepdims=True))

    def mean(self, name):
        total, count = self.judged.get(name, (0.0, 0))
        return total / (count + 1)

    def learn(self, experience):
        for feedback in experience.feedback:
            if feedback.quality is not None:
                replaced = experience.replaced_by(feedback)
                for one, sign in ((feedback, 1), (replaced, -1)):
                    if one is not None:
                        self.add(one.candidate, sign * self.weight(one) * one.quality, sign * self.weight(one))

    def weight(self, feedback):
        return feedback.average_weight

    def add(self, name, quality, count):
        total, number = self.judged.get(name, (0.0, 0))
        self.judged = self.judged | {name: (total + quality, number + count)}

    def save(self, folder):
        write_json(folder / "bonus.json", {"bonus": self.bonus, "judged": self.judged})

    def load(self, folder):
        saved = read_json(folder / "bonus.json")
        self.bonus, self.judged = saved["bonus"], {name: tuple(judged) for name, judged in saved["judged"].items()}


class NeedsEveryOutcome(FairRouter):
    def train(self, training):
        found = super().train(training)
        self.bonus = dict.fromkeys(self.bonus, float(training.dataset.outcomes.quality.mean()))
        return found


class WrongShape(FairRouter):
    def score(self, request):
        return Scores(super().score(request).utility[:, :2])


class Nan(FairRouter):
    def score(self, request):
        return Scores(np.full(request.mask.shape, np.nan))


class OnlyTheFirst(FairRouter):
    def score(self, request):
        scores = super().score(request)
        return attrs.evolve(scores, probabilities=np.tile(np.arange(len(request.pool)) == 0, (len(request), 1)).astype(float))


class Positional(FairRouter):
    def score(self, request):
        return Scores(super().score(request).utility + np.arange(len(request.pool)))


class BatchBound(FairRouter):
    def score(self, request):
        utility = super().score(request).utility
        return Scores(utility - utility.mean(axis=0))


class NeverEmpty(FairRouter):
    def score(self, request):
        assert len(request.queries) > 0
        return super().score(request)


class Moody(FairRouter):
    moods = itertools.count()

    def score(self, request):
        return Scores(super().score(request).utility + next(self.moods))


class OneAtATime(FairRouter):
    def __init__(self, config, services):
        super().__init__(config, services)
        self.inside = 0
        self.meeting = threading.Event()

    def score(self, request):
        self.inside += 1
        if threading.current_thread() is not threading.main_thread():
            self.meeting.wait(0.05)
        utility = super().score(request).utility * self.inside
        self.inside -= 1
        return Scores(utility)


class Absent(FairRouter):
    """Keeps its input in an attribute that threads overwrite."""

    def score(self, request):
        self.request = request
        utility = super().score(request).utility
        return Scores(utility + self.request.expected.cost_usd)


class KnownOnly(FairRouter):
    def score(self, request):
        _ = [self.bonus[name] for name in request.pool.names]
        return super().score(request)


class Forgetful(FairRouter):
    def load(self, folder):
        read_json(folder / "bonus.json")


class Trusting(FairRouter):
    def load(self, folder):
        try:
            super().load(folder)
        except CheckpointError:
            self.bonus = {}


class Pickling(FairRouter):
    def save(self, folder):
        super().save(folder)
        (folder / "bonus.pkl").write_bytes(b"")


class PicklingQuietly(FairRouter):
    """Saves a pickle under a name that does not tell."""

    def save(self, folder):
        super().save(folder)
        (folder / "bonus.txt").write_bytes(pickle.dumps(self.bonus))


class Marshalling(FairRouter):
    """Saves a format that the kit does not know."""

    def save(self, folder):
        super().save(folder)
        (folder / "bonus.dat").write_bytes(b"bonus")


class PicklingArrays(FairRouter):
    def save(self, folder):
        super().save(folder)
        np.savez(folder / "bonus.npz", bonus=np.array([self.bonus], dtype=object))


class HalfRead(FairRouter):
    """Saves a number as text, half of which is a number too."""

    def save(self, folder):
        super().save(folder)
        (folder / "best.txt").write_text(str(sum(self.bonus.values())))

    def load(self, folder):
        super().load(folder)
        try:
            self.best = float((folder / "best.txt").read_text())
        except (OSError, ValueError) as error:
            raise CheckpointError(str(error)) from error


class Needy(FairRouter):
    def score(self, request):
        return Scores(super().score(request).utility + request.estimates.embedding[:, :1])


class Passing(FairRouter):
    def score(self, request):
        return Scores(request.expected.quality)


class Indifferent(FairRouter):
    uses_preference = False


class Hasty(FairRouter):
    def score_each(self, request, preferences):
        scores = self.score(request)
        return (scores for _ in preferences)


class Amnesic(FairRouter):
    def learn(self, experience):
        self.seen = getattr(self, "seen", 0) + len(experience.decisions)

    def score(self, request):
        cheap = request.expected.cost_usd
        return Scores(super().score(request).utility + getattr(self, "seen", 0) * cheap)


class Mute(FairRouter):
    def train(self, training):
        super().train(training)


class Rescaling(FairRouter):
    """Changes its request in place."""

    def score(self, request):
        request.expected.cost_usd[:] = np.nan_to_num(request.expected.cost_usd)
        return super().score(request)


class Unmasking(FairRouter):
    def score(self, request):
        dict.clear(request.masked_why)
        return super().score(request)


class Reusing(FairRouter):
    """Returns the same array again and again."""

    def score(self, request):
        fresh = super().score(request).utility
        if getattr(self, "buffer", np.empty(0)).shape != fresh.shape:
            self.buffer = np.empty_like(fresh)
        self.buffer[:] = fresh
        return Scores(self.buffer)


class Shared(FairRouter):
    """Keeps what it learned in its class."""

    known: dict = {}  # noqa: RUF012  # the mistake

    def train(self, training):
        metrics = super().train(training)
        self.known.update(self.bonus)
        return metrics

    def score(self, request):
        self.bonus = dict(self.known)
        return super().score(request)


class SharedLearning(FairRouter):
    """Adds what it learns to a mapping of its class."""

    seen: dict = {}  # noqa: RUF012  # the mistake

    def learn(self, experience):
        for feedback in experience.feedback:
            self.seen[feedback.decision_id] = feedback.quality

    def score(self, request):
        return Scores(super().score(request).utility + len(self.seen) * request.expected.cost_usd)


class NeedsTraining(FairRouter):
    def score(self, request):
        return Scores(super().score(request).utility + max(self.bonus.values()))


class Filling(FairRouter):
    """Fills gaps of the training data in place."""

    def train(self, training):
        metrics = super().train(training)
        training.dataset.outcomes.quality[:] = 0.5
        return metrics


class Undrawn(FairRouter):
    Config = NoOptions

    def score(self, request):
        return Scores(request.expected.known_quality, np.ones(request.mask.shape))


@attrs.frozen(kw_only=True)
class YesOptions:
    sample: str = option("yes", "draw decisions from the probabilities")


class SaysYes(Undrawn):
    Config = YesOptions


class TwoMinds(FairRouter, AsyncRouter):
    async def ascore(self, request):
        return Scores(-self.score(request).utility)


class CountsTwice(FairRouter):
    """Learns a decision each time that it comes in a batch."""

    def learn(self, experience):
        super().learn(experience)
        for decision in experience.decisions:
            self.add(decision.candidate, 0.0, 1)


class Averaging(FairRouter):
    """Learns the mean of a batch."""

    def learn(self, experience):
        mean = np.mean([feedback.quality for feedback in experience.feedback]) if experience.feedback else 0.0
        self.bonus = {name: 0.9 * value + 0.1 * mean * row for row, (name, value) in enumerate(self.bonus.items())}


class Unrevised(FairRouter):
    """Counts a revision as more feedback."""

    def learn(self, experience):
        super().learn(attrs.evolve(experience, replaced=()))


class Remembering(FairRouter):
    """Learns feedback on decisions that it keeps in memory alone."""

    def __init__(self, config, services):
        super().__init__(config, services)
        self.known = set()

    def learn(self, experience):
        self.known |= {decision.id for decision in experience.decisions[len(experience.decisions) - experience.made :]}
        super().learn(attrs.evolve(experience, entries=[one for one in experience.entries if one.decision_id in self.known]))


class Crediting(FairRouter):
    """Credits the chosen candidate, whichever was judged."""

    def learn(self, experience):
        chosen = {decision.id: decision.candidate for decision in experience.decisions}
        super().learn(attrs.evolve(experience, entries=[attrs.evolve(one, candidate=chosen[one.decision_id]) for one in experience.entries]))


class Personal(FairRouter):
    """Counts the decisions of each user, and does not save it."""

    def __init__(self, config, services):
        super().__init__(config, services)
        self.users = {}

    def learn(self, experience):
        super().learn(experience)
        for query in experience.queries[len(experience.queries) - experience.made :]:
            self.users[query.user] = self.users.get(query.user, 0) + 1

    def score(self, request):
        known = np.array([[self.users.get(query.user, 0)] for query in request.queries]).reshape(len(request), 1)
        return Scores(super().score(request).utility + known * request.expected.cost_usd)


class Retentive(Personal):
    """Counts the decisions of each user, and keeps those of forgotten users."""

    def save(self, folder):
        super().save(folder)
        write_json(folder / "users.json", [list(pair) for pair in self.users.items()])

    def load(self, folder):
        super().load(folder)
        self.users = dict(read_json(folder / "users.json"))


def backwards(queries):
    return [attrs.evolve(query, user=query.user and query.user[::-1]) for query in queries]


class Hidden(Retentive):
    """Keeps forgotten users under other names."""

    def learn(self, experience):
        super().learn(attrs.evolve(experience, queries=backwards(experience.queries)))

    def score(self, request):
        return super().score(attrs.evolve(request, queries=backwards(request.queries)))


class Tenantless(Retentive):
    """Counts the decisions of each user until the log forgets the user, and takes users of one name in two tenants for one."""

    def prepare_replay(self, log):
        forgotten = set(log.forgotten([name for name in self.users if name]))
        self.users = {name: count for name, count in self.users.items() if name not in forgotten}


def named_with_tenants(queries):
    return [attrs.evolve(query, user=query.user and tenant_user(query.user, query.tenant).replace("\0", " in ")) for query in queries]


class Releasing(Retentive):
    """Counts the decisions of each user of each tenant until the log forgets the user."""

    def learn(self, experience):
        super().learn(attrs.evolve(experience, queries=named_with_tenants(experience.queries)))

    def score(self, request):
        return super().score(attrs.evolve(request, queries=named_with_tenants(request.queries)))

    def prepare_replay(self, log):
        forgotten = {name.replace("\0", " in ") for name in log.forgotten([name.replace(" in ", "\0") for name in self.users if name])}
        self.users = {name: count for name, count in self.users.items() if name not in forgotten}


class Rounding(FairRouter):
    def save(self, folder):
        rounded = {name: (round(total, 3), count) for name, (total, count) in self.judged.items()}
        write_json(folder / "bonus.json", {"bonus": self.bonus, "judged": rounded})


class Costing(FairRouter):
    """Adds the costs of attempts, also unknown ones."""

    def learn(self, experience):
        super().learn(experience)
        for attempt in experience.attempts:
            self.add(attempt.candidate, -attempt.cost_usd, 0)


class LastDeltas(FairRouter):
    """Passes on what the last batch changed."""

    def learn(self, experience):
        before = self.judged
        super().learn(experience)
        self.last = {name: judged for name, judged in self.judged.items() if before.get(name) != judged}

    def delta(self):
        return to_json(self.last).encode()

    def apply_delta(self, delta):
        try:
            changed = json.loads(delta)
        except ValueError as error:
            raise CheckpointError("the delta is damaged") from error
        self.judged = self.judged | {name: tuple(judged) for name, judged in changed.items()}


class AllChanges(LastDeltas):
    def delta(self):
        return to_json(self.judged).encode()


class TrustingDeltas(AllChanges):
    def apply_delta(self, delta):
        json.loads(delta)
        super().apply_delta(delta)


class IdleDeltas(AllChanges):
    """Has no changes where nothing was learned since the last call."""

    sent = None

    def delta(self):
        if self.sent == self.judged:
            return None
        self.sent = self.judged
        return super().delta()


class Unweighted(FairRouter):
    """Learns feedback by its weight, and takes it back by the weight 1."""

    def learn(self, experience):
        for feedback in experience.feedback:
            weight, replaced = feedback.average_weight, experience.replaced_by(feedback)
            self.add(feedback.candidate, weight * feedback.quality, weight)
            if replaced is not None:
                self.add(replaced.candidate, -replaced.quality, -1)


class Unweighing(FairRouter):
    """Counts each piece of feedback as one, also in a revision."""

    def weight(self, feedback):
        return 1.0


class Confident(FairRouter):
    """Ignores the confidence, not the weight."""

    def weight(self, feedback):
        return feedback.weight


class NeedsUsers(FairRouter):
    """Reads the users of the log, which it takes for known."""

    def learn(self, experience):
        for feedback in experience.feedback:
            experience.queries[experience.rows[feedback.decision_id]].user.lower()
        super().learn(experience)


class CreditsTheLast(FairRouter):
    """Credits the candidate that its own last scores preferred, in place of the feedback's."""

    last = None

    def score(self, request):
        scores = super().score(request)
        if len(request):
            self.last = request.pool.names[int(scores.utility[-1].argmax())]
        return scores

    def learn(self, experience):
        given = [attrs.evolve(one, candidate=self.last or one.candidate) if isinstance(one, Feedback) else one for one in experience.entries]
        super().learn(attrs.evolve(experience, entries=given))


class LearnsNothing(FairRouter):
    def learn(self, experience):
        pass


class Marking(FairRouter):
    """Marks the decisions that it has learned."""

    def learn(self, experience):
        super().learn(experience)
        for decision in experience.decisions:
            decision.notes["learned"] = True


class Noted(FairRouter):
    def score(self, request):
        return attrs.evolve(super().score(request), notes=[{"seen": time.gmtime}] * len(request))


class Listing(FairRouter):
    def score(self, request):
        return Scores(super().score(request).utility.tolist())


class Reading(FairRouter):
    def score(self, request):
        written = np.array(["Python" in query.text for query in request.queries], dtype=float)
        return Scores(super().score(request).utility * (1 + written[:, None]))


class Conversing(FairRouter):
    def score(self, request):
        turns = np.array([len(query.turns) for query in request.queries], dtype=float)
        return Scores(super().score(request).utility * (1 + turns[:, None]))


class ClosedOnce(FairRouter):
    def __init__(self, config, services):
        super().__init__(config, services)
        self.resources = ["connection"]

    def close(self):
        self.resources.remove("connection")


class QualitiesOnly(FairRouter):
    def learn(self, experience):
        super().learn(experience)
        self.bonus = self.bonus | {"sum": sum(0.0 * feedback.quality for feedback in experience.feedback)}


class LeavesAThread(FairRouter):
    def __init__(self, config, services):
        super().__init__(config, services)
        threading.Thread(target=time.sleep, args=(5.0,), name="sleeper", daemon=True).start()


class TrainsInThreads(FairRouter):
    """Leaves its pool of threads open after training."""

    def train(self, training):
        self.threads = ThreadPoolExecutor(1)
        self.threads.submit(int).result()
        return super().train(training)


class Seeding(FairRouter):
    def __init__(self, config, services):
        super().__init__(config, services)
        np.random.seed(services.seed)  # the mistake


class Raising(FairRouter):
    """Turns numpy's warnings into errors for the whole program."""

    def train(self, training):
        np.seterr(all="raise")
        return super().train(training)


class Printing(FairRouter):
    def score(self, request):
        print("scoring", len(request))  # noqa: T201  # the mistake
        return super().score(request)


class Caching(FairRouter):
    """Caches scores by text, whatever the preference."""

    def __init__(self, config, services):
        super().__init__(config, services)
        self.cached = {}

    def score(self, request):
        scores, key = super().score(request), request.pool.names
        rows = [self.cached.setdefault((query.text, key), row) for query, row in zip(request.queries, scores.utility, strict=True)]
        return Scores(np.array(rows).reshape(scores.utility.shape))


class Rotating(FairRouter):
    """Takes the candidates in turn, a row each: after a batch of any multiple of their number it begins anew."""

    uses_preference = False
    turn = 0

    def score(self, request):
        names, rows = sorted(request.pool.names), self.turn + np.arange(len(request))
        self.turn += len(request)
        return Scores(np.array([[float(names[row % len(names)] == name) for name in request.pool.names] for row in rows]).reshape(request.mask.shape))


class Sticky(FairRouter):
    """The first request of a user, or of a session, decides for all later ones."""

    requires = Requirements(text=True)
    key = "user"

    def __init__(self, config, services):
        super().__init__(config, services)
        self.first = {}

    def score(self, request):
        utility = super().score(request).utility.copy()
        for row, query in enumerate(request.queries):
            key = getattr(query, self.key)
            if key is not None and self.first.setdefault(key, len(query.text)) % 2:
                utility[row] *= -1
        return Scores(utility)


class StickySession(Sticky):
    key = "session"


class Fastest(FairRouter):
    """Takes the fastest candidate; most tables and pools have no latencies."""

    uses_preference = False

    def score(self, request):
        return Scores(-request.expected.latency_ms)


class Cheapest(FairRouter):
    uses_preference = False

    def score(self, request):
        return Scores(-request.expected.cost_usd)


class Overrated(FairRouter):
    def score(self, request):
        return attrs.evolve(super().score(request), expected_quality=np.full(request.mask.shape, 7.0))


class Counted(FairRouter):
    """Counts the routers that are open."""

    opened: set = set()  # noqa: RUF012  # of all routers

    def __init__(self, config, services):
        super().__init__(config, services)
        self.opened.add(id(self))

    def close(self):
        self.opened.discard(id(self))


@attrs.frozen(kw_only=True)
class Unexplained:
    strength: float = 0.1


class Undocumented(FairRouter):
    Config = Unexplained


@attrs.frozen(kw_only=True)
class Mistyped:
    strength: float = option("strong", "Strength.")


class WrongDefault(FairRouter):
    Config = Mistyped


def test_a_fair_router_passes_every_check(offer):
    findings = check_component("router", "mine", offer("router", FairRouter))
    assert [finding for finding in findings if not finding.passed] == []
    assert len(findings) == 1 + len(checks_of("router"))
    assert_conforms("router", "mine", offer("router", FairRouter), {"strength": 0.0})


class FromLogs(FairRouter):
    """Learns from judged decisions alone."""

    def train(self, training):
        judged = training.dataset.experience
        assert {query.user for query in judged.queries} == {f"user-{n}" for n in range(4)}
        self.bonus = dict.fromkeys(training.dataset.pool.names, 0.5)
        self.learn(judged)
        return {"feedback": len(judged.feedback)}


def test_a_router_that_learns_from_logs_alone_passes_too(offer):
    assert failed(offer("router", FromLogs), "router") == set()


class WholeDeltas(FairRouter):
    """Returns its state itself, which cannot be sent to another process."""

    def delta(self):
        return self.judged

    def apply_delta(self, delta):
        self.judged = dict(delta)


@pytest.mark.parametrize(
    ("target", "check"),
    [
        (WrongShape, "shapes"),
        (NeedsEveryOutcome, "training with missing outcomes"),
        (Nan, "shapes"),
        (OnlyTheFirst, "masks"),
        (Positional, "permuted candidates"),
        (BatchBound, "a batch of one and of none"),
        (NeverEmpty, "a batch of one and of none"),
        (Moody, "the same seed gives the same result"),
        (OneAtATime, "scoring from several threads"),
        (Absent, "scoring from several threads"),
        (KnownOnly, "unseen and missing candidates"),
        (Forgetful, "save and load"),
        (Trusting, "damaged checkpoints are refused"),
        (Pickling, "checkpoints run no code"),
        (PicklingQuietly, "checkpoints run no code"),
        (Marshalling, "checkpoints run no code"),
        (PicklingArrays, "checkpoints run no code"),
        (HalfRead, "damaged checkpoints are refused"),
        (Needy, "without an estimator it works or says so"),
        (Passing, "without an estimator it works or says so"),
        (Indifferent, "uses preference is true where it matters"),
        (Hasty, "several preferences at once"),
        (Amnesic, "learning survives a save"),
        (Mute, "training returns metrics"),
        (Undocumented, "options have defaults and meanings"),
        (WrongDefault, "options have defaults and meanings"),
        (Rescaling, "a request stays as it is"),
        (Unmasking, "a request stays as it is"),
        (Reusing, "a request stays as it is"),
        (Shared, "instances share nothing"),
        (SharedLearning, "instances share nothing"),
        (NeedsTraining, "untrained it scores or says so"),
        (Filling, "training leaves its data as it was"),
        (Undrawn, "probabilities are drawn from"),
        (SaysYes, "probabilities are drawn from"),
        (TwoMinds, "ascore and score agree"),
        (CountsTwice, "learning does not depend on batches"),
        (Averaging, "learning does not depend on batches"),
        (Unrevised, "a revision replaces what it revises"),
        (Remembering, "learning survives a save"),
        (Crediting, "feedback counts for the candidate that it names"),
        (Personal, "learning survives a save"),
        (Retentive, "forgotten users leave the state"),
        (Hidden, "forgotten users leave the state"),
        (Tenantless, "forgotten users leave the state"),
        (Rounding, "learning survives a save"),
        (Costing, "unknown figures do not spread"),
        (Unweighing, "feedback of no weight teaches nothing"),
        (Confident, "feedback of no weight teaches nothing"),
        (NeedsUsers, "unknown figures do not spread"),
        (CreditsTheLast, "learning does not depend on batches"),
        (Unweighted, "a revision replaces what it revises"),
        (LastDeltas, "a copy follows the deltas"),
        (TrustingDeltas, "a copy follows the deltas"),
        (IdleDeltas, "a copy follows the deltas"),
        (WholeDeltas, "a copy follows the deltas"),
        (Marking, "the log stays as it is"),
        (Noted, "shapes"),
        (Listing, "shapes"),
        (Reading, "texts are declared where they matter"),
        (Conversing, "earlier turns are declared where they matter"),
        (ClosedOnce, "closing twice does nothing"),
        (LeavesAThread, "closing ends its threads"),
        (TrainsInThreads, "closing ends its threads"),
        (Seeding, "training leaves no global state"),
        (Raising, "training leaves no global state"),
        (Printing, "scoring leaves no global state"),
        (Caching, "an earlier request changes no scores"),
        (Rotating, "an earlier request changes no scores"),
        (Sticky, "an earlier request changes no scores"),
        (StickySession, "an earlier request changes no scores"),
        (Fastest, "unknown costs and latencies"),
        (Cheapest, "unknown costs and latencies"),
        (Overrated, "shapes"),
        (QualitiesOnly, "comparisons do not stop learning"),
        (LinearReward, "it loads"),
        (Router, "has the methods of its kind"),
    ],
)
def test_a_broken_router_is_caught(offer, target, check):
    with np.errstate():  # one of them changes it
        assert check in failed(offer("router", target), "router")


def test_a_router_that_drops_forgotten_users_passes(offer):
    assert "forgotten users leave the state" not in failed(offer("router", Releasing), "router")


def test_an_online_router_that_learns_nothing_is_told_so(offer):
    findings = {finding.check: finding for finding in check_component("router", "mine", offer("router", LearnsNothing))}
    assert findings["learning does not depend on batches"].message == "learning the kit's log of 16 decisions, each with feedback, changes no score"


class Shuffled(AllChanges):
    """Saves what it learned in another order in a copy."""

    def apply_delta(self, delta):
        super().apply_delta(delta)
        self.judged = dict(sorted(self.judged.items(), reverse=True))


def test_a_copy_that_saves_the_same_values_in_another_order_is_told_so(offer):
    findings = {finding.check: finding for finding in check_component("router", "mine", offer("router", Shuffled))}
    message = "a copy that applied the delta saves another state: bonus.json has the same values in another order; save them sorted"
    assert findings["a copy follows the deltas"].message.startswith(message)


def test_a_router_that_passes_on_all_its_changes_passes(offer):
    assert failed(offer("router", AllChanges), "router") == set()


def test_the_kit_closes_the_routers_that_it_makes(offer):
    check_component("router", "mine", offer("router", Counted))
    assert Counted.opened == set()


def test_assert_conforms_says_everything_that_is_wrong(offer):
    with pytest.raises(AssertionError, match=r"router mine: permuted candidates: the order of the pool changes the utilities"):
        assert_conforms("router", "mine", offer("router", Positional))


class Peeking(FairRouter):
    """Trains on the queries that it is measured on."""

    def train(self, training):
        training.env.vector(4, "test")
        return {}


def test_the_conformance_kit_finds_a_router_that_trains_on_test_queries(offer):
    failed = [finding.message for finding in check_component("router", "mine", offer("router", Peeking)) if not finding.passed]
    assert any("a training cannot use the split 'test'" in message for message in failed)


class LearnsLater(FairRouter):
    async def learn(self, experience):
        pass


class ScoresLater(FairRouter):
    async def score(self, request):
        return super().score(request)


class Asking(AsyncRouter):
    """Asks a model once for all rows."""

    reported = True
    uses_preference = False

    async def ascore(self, request):
        answer = await self.services.models.complete(request.pool.candidates[0], [{"role": "user", "content": "7"}])
        spent_usd = answer.cost_usd / max(len(request), 1) if self.reported else 0.0
        return Scores(-np.nan_to_num(request.expected.cost_usd), spent_usd=spent_usd)


class AskingForNothing(Asking):
    reported = False


def test_a_router_that_hides_the_cost_of_its_calls_is_caught(offer):
    assert failed(offer("router", Asking), "router") == set()
    assert failed(offer("router", AskingForNothing), "router") == {"the cost of its calls is reported"}


class NeverAwaited(AsyncRouter):
    def ascore(self, request):
        return Scores(request.expected.known_quality)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (LearnsLater, "learn must be a plain function (def): nothing awaits it, so as `async def` it does nothing"),
        (ScoresLater, "score must be a plain function (def): nothing awaits it, so as `async def` it does nothing"),
        (NeverAwaited, "ascore must be a coroutine function (async def): it is awaited"),
    ],
)
def test_a_method_that_is_wrongly_asynchronous_is_described_once(offer, target, message):
    findings = check_component("router", "mine", offer("router", target))
    (found,) = [finding for finding in findings if not finding.passed]
    assert found.message == message
    assert findings[-1].message == "'methods are asynchronous where their interface is' fails"
