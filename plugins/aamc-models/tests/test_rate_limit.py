import random

from aamc_models.transport.deployments import RateLimit


def test_no_window_has_more_than_the_limit() -> None:
    limit, draws, taken, now = RateLimit(10), random.Random(3), [], 0.0
    for _ in range(2000):
        now += draws.expovariate(1.0)
        if not limit.wait_s(1, now):
            limit.take(1, now)
            taken.append(now)
    assert max(sum(at - 60 < other <= at for other in taken) for at in taken) == 10


def test_the_wait_is_until_enough_has_left_the_window() -> None:
    limit = RateLimit(10)
    limit.take(4, 0.0)
    limit.take(6, 20.0)
    assert [limit.wait_s(amount, 30.0) for amount in (1, 4, 5, 10)] == [30.0, 30.0, 50.0, 50.0]
    assert limit.wait_s(4, 60.0) == 0.0
    assert limit.remaining(60.0) == 4


def test_an_amount_above_the_limit_waits_for_all_of_it() -> None:
    limit = RateLimit(10)
    assert limit.wait_s(50, 0.0) == 0.0
    limit.take(1, 0.0)
    assert limit.wait_s(50, 10.0) == 50.0


def test_an_estimate_is_replaced_by_the_real_amount() -> None:
    limit = RateLimit(10)
    use = limit.take(8, 0.0)
    limit.correct(use, 2)
    assert limit.remaining(1.0) == 8
    limit.take(1, 50.0)
    limit.remaining(60.0)
    limit.correct(use, 9)  # it has left the window
    assert limit.remaining(61.0) == 9
