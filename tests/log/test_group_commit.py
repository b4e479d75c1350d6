"""Writes of many threads are committed together, and each thread is told the result of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

import pytest

from aamc_sdk.errors import StoreAwayError, StoreError
from aamc_sdk.log import Excerpt, GroupCommit, Write, run_writes
from aamc_sdk.log.writes import group_commit
from aamc_sdk.log.writes.group_commit import _Item


class Commits:
    """Carries out groups on an empty log, and remembers how large they were."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.finished = False
        self.failure: Exception | None = None
        self.group = GroupCommit(self.commit, self.finish)

    def commit(self, writes: Sequence[Write[Any]]) -> Sequence[Any]:
        if self.failure is not None:
            raise self.failure
        self.sizes.append(len(writes))
        return run_writes(writes, Excerpt([], []))

    def finish(self) -> None:
        self.finished = True


def wait_for_queue(commits: Commits, writes: int) -> None:
    end = time.monotonic() + 60
    while commits.group.queued < writes:
        assert time.monotonic() < end, f"{commits.group.queued} of {writes} writes wait"
        time.sleep(0.001)


def test_writes_that_come_while_one_is_committed_share_the_next_commit() -> None:
    commits = Commits()
    busy, release = threading.Event(), threading.Event()

    def hold(excerpt: object) -> None:
        busy.set()
        release.wait(60)

    threads = [threading.Thread(target=commits.group.run, args=(Write(hold, []),))]
    threads[0].start()
    busy.wait(60)
    threads += [threading.Thread(target=commits.group.run, args=(Write(lambda excerpt: None, []),)) for _ in range(40)]
    for thread in threads[1:]:
        thread.start()
    wait_for_queue(commits, 40)
    release.set()
    for thread in threads:
        thread.join(60)
    commits.group.close()
    assert commits.sizes == [1, 40]
    assert commits.finished


def test_a_writer_whose_group_is_committed_does_not_wait_for_the_next_one() -> None:
    commits = Commits()
    busy, release = [threading.Event() for _ in range(3)], [threading.Event() for _ in range(3)]

    def held(number: int) -> Write[None]:
        def hold(excerpt: object) -> None:
            busy[number].set()
            release[number].wait(60)

        return Write(hold, [])

    def start(write: Write[None]) -> threading.Thread:
        thread = threading.Thread(target=commits.group.run, args=(write,))
        thread.start()
        return thread

    first = start(held(0))
    busy[0].wait(60)
    second = [start(held(1)), *(start(Write(lambda excerpt: None, [])) for _ in range(10))]
    wait_for_queue(commits, 11)
    release[0].set()
    busy[1].wait(60)
    third = [start(held(2)), *(start(Write(lambda excerpt: None, [])) for _ in range(10))]
    wait_for_queue(commits, 11)
    release[1].set()
    busy[2].wait(60)  # the third group is being committed
    for thread in (first, *second):
        thread.join(60)
        assert not thread.is_alive()
    release[2].set()
    for thread in third:
        thread.join(60)
    commits.group.close()
    assert commits.sizes == [1, 11, 11]


def test_a_writer_that_is_interrupted_hands_over(monkeypatch: pytest.MonkeyPatch) -> None:
    commits, busy, release = Commits(), threading.Event(), threading.Event()

    def hold(excerpt: object) -> None:
        busy.set()
        release.wait(60)

    class Interrupted(SimpleQueue[None]):
        def get(self) -> None:
            release.set()
            first.join(60)  # which makes the interrupted thread the next to lead
            raise KeyboardInterrupt

    first = threading.Thread(target=commits.group.run, args=(Write(hold, []),))
    first.start()
    busy.wait(60)
    with monkeypatch.context() as patched:
        patched.setattr(group_commit, "SimpleQueue", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            commits.group.run(Write(lambda excerpt: 1, []))
    assert commits.group.run(Write(lambda excerpt: 2, [])) == 2
    commits.group.close()
    assert commits.sizes == [1, 2]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_of_the_thread_that_commits_is_raised_there_and_the_other_writers_are_committed(interrupt: type[BaseException]) -> None:
    commits, busy, release, results = Commits(), threading.Event(), threading.Event(), list[int]()
    interrupts = iter([False, True])
    commit = commits.commit

    def interrupted(writes: Sequence[Write[Any]]) -> Sequence[Any]:
        if next(interrupts, False):
            raise interrupt
        return commit(writes)

    def hold(excerpt: object) -> int:
        busy.set()
        release.wait(60)
        return 0

    raised = list[BaseException]()

    def lead() -> None:
        try:
            commits.group.run(Write(lambda excerpt: 1, []))
        except BaseException as error:
            raised.append(error)

    commits.group = GroupCommit(interrupted, commits.finish)
    threads = [threading.Thread(target=lambda: results.append(commits.group.run(Write(hold, []))))]
    threads[0].start()
    busy.wait(60)
    threads.append(threading.Thread(target=lead))
    threads[1].start()
    wait_for_queue(commits, 1)
    threads += [threading.Thread(target=lambda n=n: results.append(commits.group.run(Write(lambda excerpt: n, [])))) for n in (2, 3)]
    for thread in threads[2:]:
        thread.start()
    wait_for_queue(commits, 3)
    release.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    commits.group.close()
    assert [type(error) for error in raised] == [interrupt]
    assert sorted(results) == [0, 2, 3]
    assert commits.sizes == [1, 3]


def test_a_log_whose_closing_was_interrupted_can_be_closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    commits, busy, release = Commits(), threading.Event(), threading.Event()

    def hold(excerpt: object) -> None:
        busy.set()
        release.wait(60)

    class Interrupted(SimpleQueue[None]):
        def get(self) -> None:
            raise KeyboardInterrupt

    first = threading.Thread(target=commits.group.run, args=(Write(hold, []),))
    first.start()
    busy.wait(60)
    with monkeypatch.context() as patched:
        patched.setattr(group_commit, "SimpleQueue", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            commits.group.close()
    release.set()
    first.join(60)
    again = threading.Thread(target=commits.group.close, daemon=True)
    again.start()
    again.join(5)
    assert not again.is_alive()
    assert commits.finished


def test_an_interrupt_before_a_thread_leads_leaves_the_lead_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    commits = Commits()

    def interrupt(group: GroupCommit) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(GroupCommit, "_run_group", interrupt)
        with pytest.raises(KeyboardInterrupt):
            commits.group.run(Write(lambda excerpt: 1, []))
    assert commits.group.run(Write(lambda excerpt: 2, [])) == 2
    commits.group.close()
    assert commits.sizes == [2]


def test_a_refused_write_leaves_the_others_of_its_group() -> None:
    def refuse(excerpt: object) -> None:
        raise StoreError("not this one")

    results = run_writes([Write(lambda excerpt: 1, []), Write(refuse, []), Write(lambda excerpt: 3, [])], Excerpt([], []))
    assert (results[0], str(results[1]), results[2]) == (1, "not this one", 3)
    commits = Commits()
    with pytest.raises(StoreError, match="not this one"):
        commits.group.run(Write(refuse, []))
    assert commits.group.run(Write(lambda excerpt: 3, [])) == 3
    commits.group.close()


def test_a_commit_that_fails_is_told_to_its_writers_and_the_next_goes_on() -> None:
    commits = Commits()
    commits.failure = OSError("the disk is gone")
    with pytest.raises(OSError, match="the disk is gone"):
        commits.group.run(Write(lambda excerpt: 1, []))
    commits.failure = None
    assert commits.group.run(Write(lambda excerpt: 1, [])) == 1
    commits.group.close()
    commits.group.close()
    with pytest.raises(StoreError, match="closed"):
        commits.group.run(Write(lambda excerpt: 1, []))


def together(commits: Commits, writes: Sequence[Write[Any]]) -> list[Any]:
    """Commit writes as one group, and return what each was told."""
    waiting = [_Item(write) for write in writes]
    commits.group._commit_group(waiting)
    return [item.error or item.result for item in waiting]


def test_a_write_that_breaks_its_group_is_alone_told_so() -> None:
    commits, broken = Commits(), UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")

    def break_it(excerpt: object) -> None:
        raise broken

    writes = [Write(lambda excerpt: "kept", []) for _ in range(40)]
    writes[7] = Write(break_it, [])
    told = together(commits, writes)
    commits.group.close()
    assert told == ["kept"] * 7 + [broken] + ["kept"] * 32
    assert len(commits.sizes) <= 12  # groups were halved, not taken apart


def test_a_server_that_is_away_is_not_asked_for_each_write() -> None:
    commits = Commits()
    commits.failure = StoreAwayError("nobody answers")
    tried = []
    commits.group._commit = lambda writes: (tried.append(len(writes)), commits.commit(writes))[1]
    assert together(commits, [Write(lambda excerpt: "kept", []) for _ in range(40)]) == [commits.failure] * 40
    commits.group.close()
    assert tried == [40]


def test_a_job_runs_between_groups_and_its_error_is_the_callers():
    def job() -> str:
        raise StoreError("no room")

    commit = GroupCommit(lambda writes: run_writes(writes, Excerpt((), ())), lambda: None)
    with pytest.raises(StoreError, match="no room"):
        commit.run(job)
    assert commit.run(lambda: 5) == 5
    commit.close()
    with pytest.raises(StoreError, match="closed"):
        commit.run(job)
