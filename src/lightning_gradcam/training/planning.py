"""The plan of a training's looks: tried once, on rank zero's images, and what is said of it."""

import logging
from dataclasses import fields, replace
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_info
from torch import nn

from lightning_gradcam.cam.calls import Call
from lightning_gradcam.cam.evidence import validated_alone
from lightning_gradcam.cam.lend import Lender
from lightning_gradcam.cam.plan import UNNAMED, Plan, make_plan
from lightning_gradcam.cam.settings import Settings
from lightning_gradcam.cam.targets import most_frequent
from lightning_gradcam.pictures.shown import check_names_fit
from lightning_gradcam.training.arguments import Arguments
from lightning_gradcam.training.probe_set import ProbeSet
from lightning_gradcam.training.ranks import gathered
from lightning_gradcam.training.session import look

logger = logging.getLogger(__name__)


def planned(
    trainer: Trainer, lender: Lender, arguments: Arguments, probe_set: ProbeSet, before: str | None = None
) -> Plan:
    """Try the looking on two images, and return the plan of all looks: on all ranks rank zero's.

    Args:
        trainer: in a stage.
        lender: of the model.
        arguments: the callback's.
        probe_set: the images.
        before: the method of the looks so far, which stays where none is named, whatever training has made of the maps.

    Raises:
        SettingError: what cannot work.
    """
    settings = arguments.settings
    told = gathered(trainer, lambda: _tried(trainer, lender, arguments, probe_set, before))[0]
    return Plan(settings, **told | {"call": replace(told["call"], output=settings.output)})


def _tried(
    trainer: Trainer, lender: Lender, arguments: Arguments, probe_set: ProbeSet, before: str | None
) -> dict[str, Any]:
    """All of a plan but the settings, which may not travel between ranks."""
    class_names, counts = arguments.class_names, {probe_set.classes} if probe_set.classes else set()

    def tried(model: nn.Module, lent: Settings) -> Plan:
        return make_plan(model, probe_set.inputs, probe_set.labels, lent, counts, len(class_names or ()))

    plan = look(trainer, lender, tried, arguments.settings)
    if arguments.settings.method is None and before in UNNAMED:
        plan = replace(plan, method=before)
    check_names_fit(class_names, plan.task)
    _say(plan, arguments.settings, trainer.lightning_module)
    _say_where_all_is_background(plan, probe_set)
    told = {field.name: getattr(plan, field.name) for field in fields(plan) if field.name != "settings"}
    return told | {"call": replace(plan.call, output=None)}


def _say(plan: Plan, settings: Settings, module: LightningModule) -> None:
    """Say what was found where nothing was asked for; what is a guess is a warning."""
    if settings.output is None and plan.call != Call() and not plan.call.guess:
        rank_zero_info(f"output=None: called as {plan.call.said(module)}")
    if plan.call.guess:
        logger.warning(
            "output=None: called as %s, %s; output=lambda model, images, batch: model(...) calls it otherwise",
            *(plan.call.said(module), plan.call.guess),
        )
    if settings.output is None and (others := validated_alone(module)):
        logger.warning(
            "output=None: validation_step uses %s, and forward does not, which is looked at; output=lambda model, "
            "images: model.%s(images) looks at it",
            *(" and ".join(others), others[0]),
        )
    if plan.tokens:
        rank_zero_info(f"method={settings.method!r}: relevance, of the attention of all blocks, and of no layer")
    elif settings.target_layer is None:
        which = "in front of attention" if plan.is_unmixed else "the last layer whose output is a map"
        rank_zero_info(f"target_layer=None: looking at {plan.names[0]!r}, {which}, by {plan.method_name}")
    if settings.task is None:
        rank_zero_info(f"task=None: {plan.task.kind}, told from {plan.task.why}")
    if plan.task.doubt:
        logger.warning("the task is taken to be %s; %s", plan.task.kind, plan.task.doubt)


def _say_where_all_is_background(plan: Plan, probe_set: ProbeSet) -> None:
    """Of a segmentation, warn where what is explained is mostly class 0, which is the background in most data sets."""
    task, truth = plan.task, plan.known(probe_set.labels).truth
    if truth is None or plan.settings.target != "label" or task.kind != "segmentation" or task.is_foreground:
        return
    explained = most_frequent(truth, task)
    count = int((explained == 0).sum())
    if 2 * count > len(explained):
        logger.warning(
            "target='label': the class of most pixels is explained, which is 0 in %d of %d images; if that is the "
            "background, target= names the class to look at",
            *(count, len(explained)),
        )
