"""What goes wrong in looking costs a picture and a warning, never the run."""

import logging
import re
from collections import Counter

from pytorch_lightning.utilities import rank_zero_warn

logger = logging.getLogger(__name__)


class Faults:
    """Warns of faults, each reason once: the same one comes every epoch, and says nothing new.

    Attributes:
        counts: how often each reason came.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._words: dict[str, str] = {}  # the first of each reason

    def __call__(self, fault: BaseException) -> None:
        """Warn of a fault in looking."""
        reason = reason_of(fault)
        same = re.sub(r"0x[0-9a-f]+|\d+(\.\d+)?", "#", reason)  # numbers and addresses differ each time
        self.counts[same] += 1
        self._words.setdefault(same, reason)
        if self.counts[same] == 1:
            _warn(
                f"GradCAMCallback: a picture or a number is missing ({reason}); the run goes on, and the next look "
                "tries again without another word"
            )

    def sum_up(self) -> None:
        """Say at the end how much is missing, where it was more than was warned of."""
        if repeated := {reason: count for reason, count in self.counts.items() if count > 1}:
            told = "; ".join(f"{count} times: {self._words[same]}" for same, count in repeated.items())
            logger.warning("GradCAMCallback: pictures or numbers were missing %s", told)


def reason_of(fault: BaseException) -> str:
    """Return an exception's type and words."""
    try:
        return f"{type(fault).__name__}: {fault}"
    except Exception:  # the user's own exception, whose words fail as well
        return type(fault).__name__


def _warn(told: str) -> None:
    try:
        rank_zero_warn(told, stacklevel=5)
    except Exception:  # python -W error: still no reason to end a run, nor the background thread
        logger.warning(told)
