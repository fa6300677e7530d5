"""The background thread."""

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from lightning_gradcam.logs.writer import BackgroundWriter


class Panic(BaseException):
    """What a native extension raises: no Exception."""


def fail(error: BaseException) -> None:
    raise error


def test_jobs_run_in_order_on_another_thread() -> None:
    """All of them, also after a fault in one."""
    faults, done = [], []
    writer = BackgroundWriter(faults.append)
    for number in range(20):
        writer.submit(lambda number=number: done.append((number, threading.current_thread().name, 1 // (number != 7))))
    writer.close()
    assert [number for number, _, _ in done] == [number for number in range(20) if number != 7]
    assert {name for _, name, _ in done} == {"lightning-gradcam_0"}
    assert [type(fault) for fault in faults] == [ZeroDivisionError]


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), Panic("at the disco"), MemoryError()])
def test_whatever_a_job_raises_costs_that_job_alone(error) -> None:
    """A logger that calls sys.exit; a panic."""
    faults, done = [], []
    writer = BackgroundWriter(faults.append)
    for number in range(8):  # more than there are places: a dead thread would make submit wait for ever
        writer.submit(lambda: fail(error), lambda number=number: done.append(number))
    writer.drain()
    writer.close()
    assert faults == [error] * 8
    assert done == list(range(8))


def test_a_full_queue_makes_submit_wait_and_drops_nothing() -> None:
    """A slow disk costs waiting, not pictures."""
    release, done = threading.Event(), []
    writer = BackgroundWriter(lambda fault: None, depth=2)
    for number in range(3):  # one at work, two waiting
        writer.submit(lambda number=number: (release.wait(), done.append(number)))
    fourth = threading.Thread(target=writer.submit, args=(lambda: done.append(3),))
    fourth.start()
    time.sleep(0.1)
    assert fourth.is_alive()
    release.set()
    fourth.join(5)
    writer.drain()
    assert done == [0, 1, 2, 3]
    writer.close()


def test_jobs_submitted_together_take_one_place_and_fail_alone() -> None:
    """Eight layers' pictures make nobody wait; one that cannot be drawn leaves the others."""
    release, done, faults = threading.Event(), [], []
    writer = BackgroundWriter(faults.append, depth=1)
    writer.submit(release.wait)
    writer.submit(*[lambda number=number: done.append(1 // (number != 3)) for number in range(8)])
    release.set()
    writer.close()
    assert len(done) == 7
    assert [type(fault) for fault in faults] == [ZeroDivisionError]


def test_closing_ends_the_thread_and_may_be_done_twice() -> None:
    """After an exception, and in teardown."""
    threads, done = threading.active_count(), []
    writer = BackgroundWriter(lambda fault: None)
    writer.submit(lambda: done.append(1))
    writer.close()
    writer.close()
    assert done == [1]
    assert threading.active_count() == threads


def within(seconds: float, act: Callable[[], object]) -> bool:
    """Whether it ends in time; what hangs is left on its own thread."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def test_jobs_outlive_a_closed_thread() -> None:
    """They run at once, however many; and there is nothing to wait for."""
    faults, done = [], []
    writer = BackgroundWriter(faults.append)
    writer.close()
    for number in range(8):  # more than there are places
        assert within(5, lambda number=number: writer.submit(lambda: done.append(number)))
        assert done == list(range(number + 1))
    writer.drain()
    writer.submit(lambda: 1 // 0, lambda: done.append(8))
    writer.drain()
    writer.close()
    assert done == list(range(9))
    assert [type(fault) for fault in faults] == [ZeroDivisionError]


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(2)])
def test_a_fault_that_cannot_be_told_costs_no_job(error, caplog) -> None:
    """Neither those behind it in one place, nor those in later ones."""
    done = []
    writer = BackgroundWriter(lambda fault: fail(error))
    for number in range(8):
        writer.submit(lambda: 1 // 0, lambda number=number: done.append(number))
    writer.close()
    assert done == list(range(8))
    assert sum("a fault could not be told" in record.message for record in caplog.records) == 8


def test_a_process_forked_off_in_mid_run_neither_writes_nor_waits() -> None:
    """It has no such thread; its parent's files are not its own."""
    release, done = threading.Event(), []
    writer = BackgroundWriter(lambda fault: None)
    writer.submit(release.wait)
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # what hangs is killed
        for _ in range(8):
            writer.submit(lambda: os._exit(3))
        writer.drain()
        writer.close()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    release.set()
    writer.submit(lambda: done.append(1))
    writer.close()
    assert os.waitstatus_to_exitcode(status) == 0
    assert done == [1]
