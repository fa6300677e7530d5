"""The weights that validation measures, where they are others than train: an average, mostly."""

import logging

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor
from torch.nn.parameter import is_lazy

logger = logging.getLogger(__name__)


class ValidatedWeights:
    """Tells once that validation measures other weights than train.

    They are compared in one number of each: what puts averages in their place writes them behind torch's back.

    Args:
        module: what is trained.
    """

    def __init__(self, module: LightningModule) -> None:
        self._module = module
        self._first: Tensor | None = None
        self._measured: Tensor | None = None
        self._told: set[str] = set()

    def begin(self) -> None:
        """Remember the weights before any learning."""
        self._first = _marks(self._module)

    def see(self) -> None:
        """Remember the weights that a validation measures."""
        self._measured = _marks(self._module)

    def compare(self) -> None:
        """Compare them with the ones that train, which are in their place again."""
        measured, self._measured = self._measured, None
        if measured is None or torch.equal(measured, _marks(self._module)):
            return
        if self._first is not None and torch.equal(measured, self._first):
            self._tell(
                "validation measures the weights that training began with, not those that train: an average that "
                "nothing was added to yet (pytorch-lightning #21724)?"
            )
        else:
            self._tell("validation measures other weights than those that train, an average of them?")

    def _tell(self, told: str) -> None:
        if told not in self._told:
            self._told.add(told)
            rank_zero_info(f"{told} Looks that follow a validation are at these, all others at those that train")


def _marks(module: LightningModule) -> Tensor:
    """The first number of each trained weight."""
    trained = [one.detach() for one in module.parameters() if one.requires_grad and not is_lazy(one) and one.numel()]
    firsts = [one[(0,) * one.dim()].float() for one in trained]
    with torch.inference_mode(False):
        found = torch.stack([one.to(firsts[0].device) for one in firsts]) if firsts else torch.zeros(0)
        return found.nan_to_num().cpu()
