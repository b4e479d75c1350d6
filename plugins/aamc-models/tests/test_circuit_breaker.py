from aamc_models.transport.deployments import CircuitBreaker


def failing(breaker: CircuitBreaker, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        breaker.failed("x", now, probe=breaker.begin())


def test_it_opens_after_failures_in_a_row() -> None:
    breaker = CircuitBreaker(failures=3, open_s=10.0)
    failing(breaker, 2)
    assert not breaker.is_open
    failing(breaker, 1, now=100.0)
    assert [breaker.wait_s(now) for now in (100.0, 104.0, 110.0)] == [10.0, 6.0, 0.0]


def test_a_success_between_failures_starts_the_row_anew() -> None:
    breaker = CircuitBreaker(failures=3, open_s=10.0)
    failing(breaker, 2)
    breaker.succeeded()
    failing(breaker, 2)
    assert not breaker.is_open


def test_it_opens_when_ten_of_the_latest_calls_failed() -> None:
    breaker = CircuitBreaker(failures=3, open_s=10.0)
    for _ in range(9):
        failing(breaker, 1)
        breaker.succeeded()
    breaker.succeeded()
    assert not breaker.is_open
    failing(breaker, 1)
    assert breaker.is_open
    breaker.begin()
    breaker.succeeded()
    failing(breaker, 1)
    assert not breaker.is_open  # failures before its rest are over


def test_one_probe_at_a_time_decides_after_the_rest() -> None:
    breaker = CircuitBreaker(failures=1, open_s=10.0)
    failing(breaker, 1)
    assert breaker.begin()
    assert breaker.wait_s(11.0) > 0  # a second call waits for the probe
    breaker.failed("y", 12.0, probe=True)
    assert breaker.wait_s(12.0) == 10.0
    assert breaker.begin()
    breaker.succeeded()
    assert not breaker.is_open
    assert breaker.failure == "y"


def test_a_probe_whose_answer_begins_lets_calls_through_and_one_failure_opens_it_again() -> None:
    breaker = CircuitBreaker(failures=3, open_s=10.0)
    failing(breaker, 3)
    breaker.begin()
    breaker.answering()
    assert breaker.wait_s(11.0) == 0.0
    assert not breaker.begin()
    breaker.failed("cut", 12.0, probe=False)
    assert breaker.wait_s(12.0) == 10.0


def test_a_probe_that_its_caller_ends_leaves_the_next_call_to_probe() -> None:
    breaker = CircuitBreaker(failures=1, open_s=10.0)
    failing(breaker, 1)
    breaker.dropped(probe=breaker.begin())
    assert breaker.wait_s(11.0) == 0.0


def test_calls_that_began_before_the_rest_do_not_prolong_it() -> None:
    breaker = CircuitBreaker(failures=1, open_s=10.0)
    failing(breaker, 1)
    breaker.failed("late", 5.0, probe=False)
    assert breaker.wait_s(10.0) == 0.0
