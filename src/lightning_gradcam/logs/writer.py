"""Drawing and writing off the training thread, in order."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore

Job = Callable[[], None]


class BackgroundWriter:
    """One background thread with a short queue: jobs run in order, and `submit` waits while the queue is full.

    A job's exception, whatever it is, costs that job. Closed, the writer takes no more jobs. A process that is forked
    off has no such thread, and its parent's files are not its own: there nothing is run and nothing waited for.

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
        if self._is_ours():
            self._places.acquire()
            self._thread.submit(self._run, jobs)

    def drain(self) -> None:
        """Wait until all submitted jobs are done."""
        if self._is_ours():
            self._thread.submit(int).result()

    def close(self) -> None:
        """Finish all jobs and end the thread."""
        if self._is_ours():
            self._thread.shutdown()

    def _is_ours(self) -> bool:
        return os.getpid() == self._process

    def _run(self, jobs: Sequence[Job]) -> None:
        try:
            for job in jobs:
                try:
                    job()
                except BaseException as fault:  # a sys.exit and a native extension's panic as well
                    self._on_fault(fault)
        finally:
            self._places.release()
