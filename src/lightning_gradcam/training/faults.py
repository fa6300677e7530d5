"""What goes wrong in looking costs a picture and a warning, never the run."""

import logging
import warnings

logger = logging.getLogger(__name__)


class Faults:
    """Warns of faults, once a kind: the same one comes every epoch, and says nothing new.

    Attributes:
        told: the kinds that were warned of.
    """

    def __init__(self) -> None:
        self.told: set[str] = set()

    def __call__(self, fault: BaseException) -> None:
        """Warn of a fault in looking."""
        kind = type(fault).__name__
        if kind in self.told:
            return
        self.told.add(kind)
        told = (
            f"GradCAMCallback: a picture is missing ({kind}: {fault}); training goes on, and the next epoch tries "
            "again without another word"
        )
        try:
            warnings.warn(told, stacklevel=2)
        except Warning:  # python -W error: still no reason to end a run, nor the background thread
            logger.warning(told)
