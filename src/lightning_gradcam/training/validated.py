"""The weights that validation measures, where they are others than train: an average, mostly."""

from contextlib import suppress

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor
from torch.nn.parameter import is_lazy


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
        if measured is None:
            return
        now = _marks(self._module)
        if now.shape != measured.shape or torch.equal(
            now, measured
        ):  # others, as where weights are pruned, tell nothing
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
    """The first number of each weight; none where they cannot be read like tensors."""
    with suppress(Exception), torch.inference_mode(False):
        weights = [one.detach() for one in module.parameters() if one.is_floating_point() and not is_lazy(one)]
        firsts = [one[(0,) * one.dim()].float() for one in weights if one.numel()]
        return torch.stack([one.to(firsts[0].device) for one in firsts]).nan_to_num().cpu()
    return torch.zeros(0)
