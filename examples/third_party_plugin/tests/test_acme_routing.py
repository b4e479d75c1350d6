from acme_routing.pool import two_tier

from aamc_sdk import Preference, Query, get_plugin_manager
from aamc_sdk.routing import build_request
from aamc_sdk.testing import Subject, assert_conforms, make_request


def test_the_router_conforms():
    assert_conforms("router", "acme-length", get_plugin_manager())


def test_the_pool_conforms():
    assert_conforms("model_pool", "acme-two-tier", get_plugin_manager())


def test_long_prompts_go_to_the_most_expensive_candidate_and_short_ones_to_the_cheapest():
    router = Subject("router", "acme-length", get_plugin_manager(), {"threshold_tokens": 10}).make()
    request = build_request([Query("Good morning"), Query("Prove it, step by step. " * 20)], two_tier(), Preference().array)
    assert router.score(request).utility.argmax(axis=1).tolist() == [0, 1]


def test_training_finds_a_threshold_among_the_lengths_of_the_prompts():
    subject = Subject("router", "acme-length", get_plugin_manager())
    lengths = {query.expected_prompt_tokens for query in subject.train_set.queries}
    assert min(lengths) <= subject.trained.threshold <= max(lengths)


def test_training_is_no_worse_than_any_fixed_choice():
    subject = Subject("router", "acme-length", get_plugin_manager(), {"trials": 50})
    request = make_request(subject.train_set)
    rewards = subject.reward.scalar(subject.train_set.outcomes, request.preferences)
    _ = subject.trained
    for fixed in (0.0, 1e9):
        chosen = (request.expected.cost_usd * (1 if fixed == 0.0 else -1) - 1e9 * ~request.mask).argmax(axis=1)
        assert subject.metrics["mean_reward"] >= rewards[range(len(rewards)), chosen].mean() - 1e-12
