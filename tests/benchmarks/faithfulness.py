"""Which method, at which layer, says what networks look at: the evidence behind `method=None`.

    python tests/benchmarks/faithfulness.py [--networks ...] [--tasks ...] [--seeds 3] [--folder FOLDER]

Small networks of many families are trained on tasks whose evidence lies at a known place, and each method at each
candidate layer is measured by `compare`: faithfulness beside the true mask's own, class sensitivity, and the share of
the heat on the thing. What was measured stands in `faithfulness.jsonl` beside this file, and is not measured again
unless its line is removed; the tables are printed from it. Trained networks are kept in a folder.
"""

import argparse
import json
import logging
import os
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from pytorch_lightning import Trainer, seed_everything
from timm.models.convmixer import ConvMixer
from timm.models.deit import VisionTransformerDistilled
from timm.models.maxxvit import MaxxVit, MaxxVitCfg, MaxxVitTransformerCfg
from timm.models.mlp_mixer import MlpMixer
from timm.models.resnet import BasicBlock, ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.vision_transformer import ConvStemConfig
from torchvision.models.vision_transformer import VisionTransformer as TorchvisionViT
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

from digits import MARK, DigitsData, ParityData, two_digits
from lightning_gradcam import compare, explain
from lightning_gradcam.cam.trust import REMOVED, Pixels, ranked
from models import Classifier, SmallCNN

RESULTS = Path(__file__).with_suffix(".jsonl")
LEARNED = 0.6  # of the way from chance to all: whose accuracy is less tells nothing
IMAGES = 40  # of the validation data
COPIES = 4  # canvases a training digit
SIDE = 32  # of the images, half of the examples': many are trained
Data = tuple[TensorDataset, TensorDataset]  # images (N, C, 32, 32), labels, masks (N, 32, 32) of the evidence


class OfRGB(nn.Module):
    """A network that is given gray or RGB images as RGB."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.expand(-1, 3, -1, -1))


def stem() -> nn.Sequential:
    """A convolution in front of tokens, without which a transformer learns little of 1,500 images: (N, 32, 16, 16)."""
    return nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU())


TOKENS = {"img_size": 16, "patch_size": 2, "in_chans": 32, "embed_dim": 64}
BLOCKS = {"depth": 3, "num_heads": 4, "mlp_ratio": 2.0}


def _vit(classes: int) -> nn.Module:
    stem = [ConvStemConfig(width, kernel_size=3, stride=2) for width in (32, 64)]
    return TorchvisionViT(SIDE, 4, 3, 4, 64, 128, num_classes=classes, conv_stem_configs=stem)


def _vit_mean(classes: int) -> nn.Module:
    vit = VisionTransformer(**TOKENS, **BLOCKS, num_classes=classes, class_token=False, global_pool="avg")
    return nn.Sequential(stem(), vit)


def _deit(classes: int) -> nn.Module:
    return nn.Sequential(stem(), VisionTransformerDistilled(**TOKENS, **BLOCKS, num_classes=classes))


def _mixer(classes: int) -> nn.Module:
    shape = {"embed_dim": 96, "num_blocks": 2, "mlp_ratio": (1.0, 2.0)}
    return nn.Sequential(stem(), MlpMixer(img_size=16, patch_size=2, in_chans=32, num_classes=classes, **shape))


def _swin(classes: int) -> nn.Module:
    shape = {"embed_dim": 48, "depths": (2, 1), "num_heads": (3, 6), "window_size": 8, "drop_path_rate": 0.0}
    return nn.Sequential(stem(), SwinTransformer(16, 1, 32, classes, **shape))


def _convnext(classes: int) -> nn.Module:
    network = ConvNeXt([CNBlockConfig(32, 64, 1), CNBlockConfig(64, None, 2)], 0.0, 1.0, classes)
    network.features[0] = nn.Sequential(stem(), nn.MaxPool2d(2))
    return network


def _maxvit(classes: int) -> nn.Module:
    windows = MaxxVitTransformerCfg(window_size=(4, 4), grid_size=(4, 4))
    shape = MaxxVitCfg((32, 64), (1, 1), ("M", "M"), stem_width=16, transformer_cfg=windows)
    return MaxxVit(shape, img_size=SIDE, num_classes=classes)


def _resnet(classes: int) -> nn.Module:
    network = ResNet(BasicBlock, (1, 1, 1, 1), channels=(16, 32, 64, 96), stem_width=64, num_classes=classes)
    network.conv1, network.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return network


def _resnet_silu(classes: int) -> nn.Module:
    """The ResNet with activations of both signs, as EfficientNets have."""
    shape = {"block": BasicBlock, "layers": (1, 1, 1, 1), "channels": (16, 32, 64, 96), "stem_width": 64}
    network = ResNet(**shape, num_classes=classes, act_layer=nn.SiLU)
    network.conv1, network.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return network


def _convmixer(classes: int) -> nn.Module:
    return ConvMixer(64, 4, kernel_size=5, patch_size=2, num_classes=classes)


def _cnn(classes: int) -> nn.Module:
    return SmallCNN(3, classes).network


# how each is made, its highest learning rate, and its epochs
NETWORKS: dict[str, tuple[Callable[[int], nn.Module], float, int]] = {
    "ViT, class token": (_vit, 1e-3, 10),
    "ViT, mean": (_vit_mean, 1.5e-3, 12),
    "DeiT, two tokens": (_deit, 1e-3, 10),
    "Mixer": (_mixer, 3e-3, 12),
    "Swin": (_swin, 1e-3, 9),
    "MaxViT": (_maxvit, 2e-3, 5),
    "ConvNeXt": (_convnext, 6e-3, 12),
    "ResNet": (_resnet, 2e-3, 4),
    "ResNet, SiLU": (_resnet_silu, 2e-3, 4),
    "ConvMixer": (_convmixer, 4e-3, 5),
    "CNN": (_cnn, 6e-3, 2),
}


def _digits(seed: int) -> Data:
    return _of(DigitsData(seed=seed, copies=COPIES))


def _parity(seed: int) -> Data:
    return _of(ParityData(seed=seed, copies=COPIES, cheat=False))


def _shortcut(seed: int) -> Data:
    """Whose evidence is the mark, which is also what answers are measured by."""
    data = ParityData(seed=seed, copies=COPIES)
    training, validation = _of(data)
    images, _, masks = validation.tensors
    masks = torch.zeros_like(masks)
    corner = (slice(1, 1 + MARK // 2), slice(1, 1 + MARK // 2))
    masks[(slice(None), *corner)] = True
    red, green = (images[(slice(None), channel, *corner)].mean((1, 2)) for channel in (0, 1))
    return training, TensorDataset(images, (red > green).long(), masks)  # what the mark says is the answer


def _brighter(seed: int) -> Data:
    training, validation = two_digits(seed, COPIES)
    return _halved(training), _halved(validation)


def _of(data: DigitsData) -> Data:
    data.setup("fit")
    return _halved(data.training), _halved(data.validation)


def _halved(data: TensorDataset) -> TensorDataset:
    images, labels, masks = data.tensors
    return TensorDataset(F.avg_pool2d(images, 2), labels, F.max_pool2d(masks[:, None].float(), 2)[:, 0].bool())


TASKS: dict[str, tuple[Callable[[int], Data], int]] = {
    "digits": (_digits, 10),
    "parity": (_parity, 2),
    "parity by a mark": (_shortcut, 2),
    "the brighter of two": (_brighter, 10),
}


def measured(network: str, task: str, seed: int, folder: Path) -> dict[str, Any]:
    """Train one network, unless it is kept, and measure every method at every candidate layer."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    seed_everything(seed, verbose=False)
    training, validation = TASKS[task][0](seed)
    kept = folder / f"{network}, {task}, {seed}.pt"
    if not kept.exists():
        torch.save(_trained(network, task, training), kept)
    model = torch.load(kept, weights_only=False)
    with torch.no_grad():
        parts = [model(part).argmax(1) for part in validation.tensors[0].split(64)]
    accuracy = float((torch.cat(parts) == validation.tensors[1]).float().mean())
    images, labels, masks = (part[:IMAGES] for part in validation.tensors)
    found = compare(model, images, labels, masks=masks)
    return {
        "network": network,
        "task": task,
        "seed": seed,
        "accuracy": accuracy,
        "area": float(masks.float().mean()),
        "mask": round(mask_faithfulness(model, images, masks), 4),
        "shown": _shown(model, images, None),
        "gradcam": _shown(model, images, "gradcam"),
        "rows": [[row.layer, row.method, *(round(number, 3) for number in row[2:])] for row in found.rows],
    }


def _trained(network: str, task: str, training: TensorDataset) -> nn.Module:
    make, rate, epochs = NETWORKS[network]
    module = Classifier(OfRGB(make(TASKS[task][1])), rate)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    Trainer(max_epochs=epochs, accelerator="cpu", **quiet).fit(module, DataLoader(training, 64, shuffle=True))
    return module.network.eval()


def _shown(model: nn.Module, images: Tensor, method: str | None) -> list[str]:
    """Layer and method of what is shown where no layer is named."""
    found = explain(model, images[:2], method=method)
    return [found.layer, found.method]


def mask_faithfulness(model: nn.Module, images: Tensor, masks: Tensor) -> float:
    """What the true place reaches."""
    with torch.no_grad():
        classes = model(images).argmax(1, keepdim=True)
        left = [
            model(Pixels(images).without(rank, REMOVED)).softmax(1).gather(1, classes) for rank in ranked(masks.float())
        ]
    return float((left[0] - left[1]).mean() / 2)


Run = dict[str, Any]


def tables(runs: list[Run]) -> None:
    """Print what was found, as Markdown: of each network the best pairs, and of all what is shown unconfigured."""
    by_network = defaultdict(list)
    for run in runs:
        by_network[run["network"]].append(run)
    for network, found in by_network.items():
        _pairs(network, [run for run in found if has_learned(run)])
    print("\nFaithfulness over the mask's, task by task: the mean of the seeds\n")
    print(f"| network | layer, method | {' | '.join(TASKS)} | of the best pair | in_mask | class sensitivity |")
    print("| --- | --- |" + " --- |" * (len(TASKS) + 3))
    for network, found in by_network.items():
        for which in ("shown", "gradcam", "relevance"):
            _summary(network, which, [run for run in found if has_learned(run)])
    for run in runs:
        if not has_learned(run):
            print(f"left out: {run['network']}, {run['task']}, seed {run['seed']}: accuracy {run['accuracy']:.2f}")


def has_learned(run: Run) -> bool:
    """Whether a network looks at the thing at all."""
    chance = 1 / TASKS[run["task"]][1]
    return run["accuracy"] >= chance + LEARNED * (1 - chance)


def _pairs(network: str, runs: list[Run]) -> None:
    if not runs:
        return
    accuracy, mask = fmean(run["accuracy"] for run in runs), fmean(run["mask"] for run in runs)
    print(f"\n**{network}**, {len(runs)} trainings, accuracy {accuracy:.2f}, the mask's faithfulness {mask:+.3f}\n")
    print("| layer | method | faithfulness | of the best | of the mask | class sensitivity | in_mask |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    rows = defaultdict(list)
    for run in runs:
        for layer, method, *numbers in run["rows"]:
            rows[layer, method].append((*numbers[:3], numbers[0] / _best(run)))
    everywhere = {pair: found for pair, found in rows.items() if len(found) == len(runs)}
    means = {pair: [fmean(one) for one in zip(*found, strict=True)] for pair, found in everywhere.items()}
    for pair, (faithful, sensitive, inside, of_best) in sorted(means.items(), key=lambda one: -one[1][0])[:12]:
        layer, method = (f"**{one}**" if [*pair] == runs[0]["shown"] else one for one in pair)
        print(
            f"| {layer} | {method} | {faithful:+.3f} | {of_best:.2f} | {faithful / mask:.2f} | {sensitive:.2f} "
            f"| {inside:.2f} |"
        )


def _best(run: Run) -> float:
    return max(row[2] for row in run["rows"])


def _summary(network: str, which: str, runs: list[Run]) -> None:
    rows = [(run, row) for run in runs for row in run["rows"] if row[:2] == run.get(which, ["attention", "relevance"])]
    if not rows or (which == "gradcam" and all(run["shown"] == run["gradcam"] for run, _ in rows)):
        return
    of_mask = [[row[2] / run["mask"] for run, row in rows if run["task"] == task] for task in TASKS]
    shares = [f"{fmean(one):.2f} ({len(one)})" if one else "" for one in of_mask]
    known = [[row[at] for _, row in rows if row[at] == row[at]] for at in (4, 3)]  # of a blank map there is none
    others = [fmean(row[2] / _best(run) for run, row in rows), *(fmean(one) if one else float("nan") for one in known)]
    pair = ", ".join(dict.fromkeys(rows[0][1][:2])) if which != "relevance" else which
    print(f"| {network} | {pair} | {' | '.join(shares)} | {' | '.join(f'{one:.2f}' for one in others)} |")


def _key(run: Run) -> tuple[str, str, int]:
    return run["network"], run["task"], run["seed"]


def main() -> None:
    """Make what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("runs/faithfulness"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    known = [json.loads(line) for line in RESULTS.open()] if RESULTS.exists() else []
    done = {_key(run) for run in known}
    wanted = [(n, t, s) for s in range(options.seeds) for t in options.tasks for n in options.networks]
    missing = [one for one in wanted if one not in done]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        running = {pool.submit(measured, *one, options.folder): one for one in missing}
        for future in tqdm(as_completed(running), total=len(running), desc="trainings", disable=not missing):
            known.append(future.result())
            with RESULTS.open("a") as file:
                file.write(json.dumps(known[-1]) + "\n")
    tables(sorted((run for run in known if _key(run) in wanted), key=lambda run: wanted.index(_key(run))))


if __name__ == "__main__":
    main()
