"""The synthetic world and its oracle."""

import math
from itertools import product

import pytest
from aamc_router_r1.protocol import ModelNames, SubQuestion, format_errors
from aamc_router_r1.reward import CostNormalizer
from aamc_router_r1.training.replies import UNSURE, priced, spec_of
from aamc_router_r1.world import ALPHAS, DOMAINS, NAMES, OTHER_DOMAIN, REASONING_TOKENS, UNSEEN_NAMES, FactWorld, Truth, WorldReplies
from policy_measures import best_plan, oracle

WORLD = FactWorld(3)
TASKS = WORLD.tasks(300, 0)


def truth_of(task: object) -> Truth:
    truth = getattr(task, "simulation", None)
    assert isinstance(truth, Truth)
    return truth


@pytest.fixture
def normalizer() -> CostNormalizer:
    made = CostNormalizer()
    for cost in (0.0, 1.3e-4, 2.6e-4, 1.3e-3, 2.6e-3):
        made(cost)
    made.frozen = True
    return made


def test_the_same_seed_gives_the_same_tasks_and_another_seed_others() -> None:
    again, other = FactWorld(3).tasks(20, 0), FactWorld(4).tasks(20, 0)
    assert [task.question for task in again] == [task.question for task in TASKS[:20]]
    assert [task.specs for task in again] == [task.specs for task in TASKS[:20]]
    assert [task.golds for task in other] != [task.golds for task in again]


def test_every_demonstration_is_well_formed() -> None:
    for task in TASKS:
        assert format_errors(task.demonstration(), ModelNames([spec.name for spec in task.specs])) == ()


def test_training_never_uses_an_unseen_name_but_all_its_syllables() -> None:
    names = {spec.name for task in TASKS for spec in task.specs}
    assert names <= set(NAMES)
    assert not set(NAMES) & set(UNSEEN_NAMES)
    assert {name[:2] for name in UNSEEN_NAMES} <= {name[:2] for name in names}
    assert {name[2:] for name in UNSEEN_NAMES} <= {name[2:] for name in names}


def test_pools_differ_in_size_and_order_and_their_names_share_no_syllable() -> None:
    assert {len(task.specs) for task in TASKS} == {5, 6, 7}
    assert len({[spec.name for spec in task.specs].index(truth_of(task).generalist) for task in TASKS}) == 7
    for task in TASKS:
        syllables = [part for spec in task.specs for part in (spec.name[:2], spec.name[2:])]
        assert len(set(syllables)) == len(syllables)


def test_expensive_ways_are_demonstrated_less_where_the_cost_weighs_more() -> None:
    shares = []
    for alpha in ALPHAS:
        shown = [task for task in WORLD.tasks(900, 6) if task.alpha == alpha]
        shares.append(sum(any(step.model == truth_of(task).generalist for step in task.consultations) for task in shown) / len(shown))
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] > 0.02


def test_models_reply_right_as_often_as_their_quality_says() -> None:
    asked, wanted, right = [], [], []
    for task in WORLD.tasks(3000, 5):
        truth = truth_of(task)
        domain, entity, value = next(truth.facts())
        name = truth.best[domain]
        asked.append((task, SubQuestion(name, f"{DOMAINS[domain]} of item{entity}")))
        wanted.append((truth.quality[name][DOMAINS[domain]], f"item{value}"))
    right = [reply.text == value for reply, (_, value) in zip(WorldReplies()(asked), wanted, strict=True)]
    expected = sum(quality for quality, _ in wanted)
    deviation = math.sqrt(sum(quality * (1 - quality) for quality, _ in wanted))
    assert abs(sum(right) - expected) < 4 * deviation
    (reply,) = WorldReplies()([(asked[0][0], SubQuestion(asked[0][1].model, "What is the songs of item1?"))])
    assert reply.text == UNSURE


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.6, 0.9, 1.0])
def test_the_oracles_plan_is_the_best_of_all_plans(alpha: float, normalizer: CostNormalizer) -> None:
    for task in TASKS[:40]:
        truth = truth_of(task)

        def value(plan: tuple[str, ...], task: object = task, truth: Truth = truth) -> float:
            probability, cost = float(bool(plan)), 0.0
            for hop, name in zip(truth.hops, plan, strict=False):
                probability *= truth.quality[name].get(DOMAINS[hop], OTHER_DOMAIN)
                spec = spec_of(task, name)  # type: ignore[arg-type]  # a task
                cost += priced(spec, f"{DOMAINS[hop]} of item{truth.entity}", "", REASONING_TOKENS).cost_usd
            return (1 - alpha) * probability + alpha * normalizer(cost)

        plans = [(), *product(truth.quality, repeat=len(truth.hops))]
        assert value(best_plan(task, alpha, normalizer)) == pytest.approx(max(map(value, plans)))


def test_the_oracles_cost_never_rises_with_alpha(normalizer: CostNormalizer) -> None:
    reached = [oracle(TASKS, alpha, normalizer) for alpha in (0.0, 0.3, 0.6, 0.9, 1.0)]
    costs = [result.cost_usd for result in reached]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > 2 * costs[1] > costs[-1] == 0.0
    assert reached[0].exact_match > 0.9
