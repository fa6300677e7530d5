"""Drawing and writing off the training thread, in order."""

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import BoundedSemaphore

Job = Callable[[], None]

logger = logging.getLogger(__name__)


class BackgroundWriter:
    """One background thread with a short queue: jobs run in order, and `submit` waits while the queue is full.

    A job's exception, whatever it is, costs that job. Where there is no thread any more, closed or in a program that is
    ending, jobs run at once. A process that is forked off has no such thread, and its parent's files are not its own:
    there nothing is run and nothing waited for.

    Args:
        on_fault: called on the background thread with a job's exception.
        depth: submissions that may wait.
    """

    def __init__(self, on_fault: Callable[[BaseException], None], depth: int = 2) -> None:
        self._on_fault = on_fault
        self._places = BoundedSemaphore(depth + 1)  # those that wait, and the one at work
        self._thread = ThreadPoolExecutor(1, "lightning-gradcam")
        self._process = os.getpid()

    def submit(self, *jobs: Job) -> None:
        """Run the jobs, which take one place in the queue, after those before them."""
        if not self._is_ours():
            return
        self._places.acquire()
        try:
            self._thread.submit(self._run, jobs)
        except RuntimeError:  # it takes no more
            self._thread.shutdown()
            self._run(jobs)

    def drain(self, seconds: float | None = None) -> None:
        """Wait until all submitted jobs are done, or so many seconds have passed."""
        if not self._is_ours():
            return
        try:
            wait([self._thread.submit(int)], seconds)
        except RuntimeError:
            self._thread.shutdown()

    def close(self) -> None:
        """Finish all jobs and end the thread."""
        if self._is_ours():
            self._thread.shutdown()

    def _is_ours(self) -> bool:
        return os.getpid() == self._process

    def _run(self, jobs: Sequence[Job]) -> None:
        try:
            for job in jobs:
                self._attempt(job)
        finally:
            self._places.release()

    def _attempt(self, job: Job) -> None:
        try:
            job()
        except BaseException as fault:  # a sys.exit and a native extension's panic as well
            try:
                self._on_fault(fault)
            except BaseException:
                logger.exception("a fault could not be told")
