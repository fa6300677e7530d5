"""What looking costs, beside torch's bare passes and the same looking by hand with grad-cam, torch-cam and captum.

    python tests/benchmarks/cost.py [models | images | layers | targets | trust | tokens | import] [--all] ...

All contenders take turns at the ends of one real fit's epochs, on crops of real photographs. Every cost is a ratio to
one forward of the same images without gradients, made right before it: a shared machine is now faster and now slower,
and the two with it. Printed are medians over the epochs:

    compute   the maps alone, until the device has them
    stall     the training thread's whole end of epoch: maps, overlays, grid, event file
    CPU       processor seconds of all threads for the same, until the event file has it
    memory    peak during the same, beyond what was in use before, sampled each millisecond (a GPU's: its own count)
    event     MB an epoch in the event file
"""

import argparse
import ctypes
import gc
import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import timeit
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import captum.attr
import numpy as np
import pytorch_grad_cam
import torch
import torchcam.methods
import torchvision
from pytorch_grad_cam.metrics.road import ROADLeastRelevantFirst, ROADMostRelevantFirst
from pytorch_grad_cam.utils.image import show_cam_on_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget, ClassifierOutputTarget
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from lightning_gradcam import GradCAMCallback
from lightning_gradcam.cam.twin import Twins

SIDE, CLASSES, BATCH = 224, 1000, 32
MEAN, STD = 0.45, 0.23
MODELS = {
    "resnet18": "layer4",
    "resnet50": "layer4",
    "mobilenet_v3_large": "features",
    "vit_b_16": "encoder.layers.encoder_layer_11.ln_1",
}
CHOICES = ["models", "images", "layers", "targets", "trust", "tokens", "import"]
MB = 2**20


@dataclass(frozen=True)
class Task:
    """What is explained: images (N, C, H, W) and their classes, at some layers of a model, for T targets."""

    model: str
    layers: tuple[str, ...]
    images: Tensor
    labels: Tensor
    targets: tuple[int, ...] = ()

    @property
    def columns(self) -> list[list[int]]:
        """The classes to explain: a list an image, one for each target."""
        return [[one] * len(self.images) for one in self.targets] or [self.labels.tolist()]


class Network(LightningModule):
    """A classifier of torchvision in training."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.network = torchvision.models.get_model(name, weights=None)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-3)


class Ours:
    """`GradCAMCallback`, whose hooks the benchmark calls."""

    name = "lightning-gradcam"
    trust = False
    method: str | None = "gradcam"

    def __init__(self, task: Task) -> None:
        self.task = task
        self.callback = GradCAMCallback(
            [f"network.{layer}" for layer in task.layers] if self.method == "gradcam" else None,
            method=self.method,
            images=(task.images, task.labels),
            target=list(task.targets) or "label",
            mean=MEAN,
            std=STD,
            name="trust" if self.trust else str(self.method),
            trust=self.trust,
        )

    def maps(self, trainer: Trainer, module: Network) -> None:
        watch = self.callback._fit
        watch.explain(watch.plan, watch.probe_set)

    def look(self, trainer: Trainer, module: Network) -> None:
        self.callback.on_train_epoch_end(trainer, module)
        if told := self.callback._fit.faults.counts:
            raise RuntimeError(f"our own callback warned of {told}")

    def finish(self) -> None:
        self.callback._fit.drain()


class OursTrusted(Ours):
    """The same with faithfulness and class sensitivity of each map."""

    name = "lightning-gradcam, trust=True"
    trust = True


class OursUnconfigured(Ours):
    """The same with the method and the layer that are found."""

    name = "lightning-gradcam, unconfigured"
    method = None


class OursByRelevance(Ours):
    """The same by relevance, of the attention of all blocks."""

    name = "lightning-gradcam, relevance"
    method = "relevance"


class ByHand:
    """What people write: maps by a library, its heat over the images, a grid, `add_image`."""

    def __init__(self, task: Task, folder: Path) -> None:
        self.task = task
        self.writer = SummaryWriter(str(folder))
        self.steps = 0

    def explain(self, network: nn.Module, images: Tensor, layer: str, classes: list[int]) -> np.ndarray:
        """Maps of one layer for a class an image, (N, H, W) in 0..1."""
        raise NotImplementedError

    def maps(self, trainer: Trainer, module: Network) -> list[np.ndarray]:
        images = self.task.images.to(module.device)
        with trainer.precision_plugin.forward_context(), torch.enable_grad():
            module.eval()
            found = [
                self.explain(module.network, images, layer, classes)
                for layer in self.task.layers
                for classes in self.task.columns
            ]
        module.train()
        return found

    def look(self, trainer: Trainer, module: Network) -> None:
        found = self.maps(trainer, module)
        shown = (self.task.images * STD + MEAN).clamp(0, 1)
        self.steps += 1
        columns = len(self.task.columns)
        for place, layer in enumerate(self.task.layers):
            of_layer = found[place * columns : (place + 1) * columns]
            tiles = [
                tile
                for number, image in enumerate(shown)
                for tile in [image, *(_overlaid(image, maps[number]) for maps in of_layer)]
            ]
            grid = torchvision.utils.make_grid(tiles, nrow=8)
            self.writer.add_image(f"{self.name}/{layer}", grid, self.steps)

    def finish(self) -> None:
        self.writer.flush()


def _overlaid(image: Tensor, heatmap: np.ndarray) -> Tensor:
    over = show_cam_on_image(image.permute(1, 2, 0).numpy(), heatmap, use_rgb=True)
    return torch.from_numpy(over).permute(2, 0, 1) / 255


class GradCAMBatch(ByHand):
    """grad-cam on the whole batch."""

    name = "grad-cam, batch"

    def explain(self, network: nn.Module, images: Tensor, layer: str, classes: list[int]) -> np.ndarray:
        reshape = _tokens_to_map if self.task.model.startswith("vit") else None
        targets = [ClassifierOutputTarget(one) for one in classes]
        with pytorch_grad_cam.GradCAM(network, [network.get_submodule(layer)], reshape_transform=reshape) as cam:
            return cam(images, targets)


class GradCAMWithRoad(GradCAMBatch):
    """grad-cam on the whole batch, and its ROAD without the most and the least relevant fifth."""

    name = "grad-cam, batch, and its ROAD"

    def explain(self, network: nn.Module, images: Tensor, layer: str, classes: list[int]) -> np.ndarray:
        maps = super().explain(network, images, layer, classes)
        targets = [ClassifierOutputSoftmaxTarget(one) for one in classes]
        for side in (ROADMostRelevantFirst, ROADLeastRelevantFirst):
            side(percentile=80)(images, maps, targets, network)
        return maps


class GradCAMImageByImage(GradCAMBatch):
    """grad-cam on one image after the other."""

    name = "grad-cam, image by image"

    def explain(self, network: nn.Module, images: Tensor, layer: str, classes: list[int]) -> np.ndarray:
        explain = super().explain
        return np.concatenate(
            [explain(network, image[None], layer, [one]) for image, one in zip(images, classes, strict=True)]
        )


class TorchCAM(ByHand):
    """torch-cam; of token layers it makes no map."""

    name = "torch-cam"

    def explain(self, network: nn.Module, images: Tensor, layer: str, classes: list[int]) -> np.ndarray:
        with torchcam.methods.GradCAM(network, network.get_submodule(layer)) as extractor:
            maps = extractor(classes, network(images))[0]
        return _enlarged(maps)


class Captum(ByHand):
    """captum's LayerGradCam; of token layers it makes no map."""

    name = "captum"

    def explain(self, network: nn.Module, images: Tensor, layer: str, classes: list[int]) -> np.ndarray:
        method = captum.attr.LayerGradCam(network, network.get_submodule(layer))
        raw = method.attribute(images, target=classes, relu_attributions=True)[:, 0]
        return _enlarged(raw / (raw.amax((1, 2), keepdim=True) + 1e-7))


class BareTorch(ByHand):
    """The passes alone, by torch's own operations: no maps, nothing drawn or written. What no library can go below."""

    name = "bare torch, passes alone"

    def maps(self, trainer: Trainer, module: Network) -> None:
        outputs: list[Tensor] = []

        def keep(layer: nn.Module, inputs: object, output: Tensor) -> None:
            outputs.append(output if output.requires_grad else output.requires_grad_())

        hooks = [module.network.get_submodule(layer).register_forward_hook(keep) for layer in self.task.layers]
        module.eval().requires_grad_(False)
        with trainer.precision_plugin.forward_context(), torch.enable_grad():
            for start in range(0, len(self.task.images), BATCH):
                outputs.clear()
                scores = module(self.task.images[start : start + BATCH].to(module.device))
                rows = torch.arange(len(scores))
                chosen = [scores[rows, classes[start : start + BATCH]].sum() for classes in self.task.columns]
                for number, score in enumerate(chosen, 1):
                    torch.autograd.grad(score, outputs, retain_graph=number < len(chosen))
        module.train().requires_grad_(True)
        for hook in hooks:
            hook.remove()

    def look(self, trainer: Trainer, module: Network) -> None:
        self.maps(trainer, module)


class BareBackward(BareTorch):
    """A forward and a backward pass through the whole network, to its embedding of the image."""

    name = "bare torch, through all blocks"

    def __init__(self, task: Task, folder: Path) -> None:
        super().__init__(replace(task, layers=("conv_proj",)), folder)


def _enlarged(maps: Tensor) -> np.ndarray:
    sized = F.interpolate(maps.detach().float().nan_to_num(0)[:, None], (SIDE, SIDE), mode="bilinear")[:, 0]
    return sized.clamp(0, 1).cpu().numpy()


def _tokens_to_map(tokens: Tensor) -> Tensor:
    side = round((tokens.shape[1] - 1) ** 0.5)
    return tokens[:, 1:].transpose(1, 2).reshape(len(tokens), -1, side, side)


@dataclass
class Cost:
    """What one contender's looks cost, an entry an epoch: forwards, and MB written."""

    compute: list[float] = field(default_factory=list)
    stall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    written: list[float] = field(default_factory=list)
    fault: str = ""


@dataclass
class Forwards:
    """The forwards that all else is compared with: seconds, processor seconds, bytes."""

    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    memory: float = 0.0


def _make_twin(model: nn.Module) -> None:
    twins = Twins()
    twins.of(model)
    twins.end()


class Race(Callback):
    """At each epoch's end every contender in turn, each behind forwards without gradients.

    That is where a look comes in training: behind validation. What runs behind a training step, or behind another
    contender, is slower, whoever it is: it finds the memory that it needs given back to the system.

    The first epoch warms up; in the last one memory is measured.
    """

    def __init__(self, task: Task, contenders: list[Ours | ByHand]) -> None:
        self.task = task
        self.contenders = contenders
        self.costs = {contender.name: Cost() for contender in contenders}
        self.forwards = Forwards()
        self.twin = 0.0  # seconds that making one takes, which is part of ours

    def setup(self, trainer: Trainer, pl_module: Network, stage: str) -> None:
        self._tell_ours("setup", trainer, pl_module, stage)

    def on_train_start(self, trainer: Trainer, pl_module: Network) -> None:
        self._tell_ours("on_train_start", trainer, pl_module)

    def teardown(self, trainer: Trainer, pl_module: Network, stage: str) -> None:
        self._tell_ours("teardown", trainer, pl_module, stage)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Network) -> None:
        first, last = trainer.current_epoch == 0, trainer.current_epoch == trainer.max_epochs - 1
        measure = self._look if first else self._measure_memory if last else self._measure_time
        if last:
            self.twin = statistics.median(timeit.repeat(lambda: _make_twin(pl_module), number=1, repeat=9))
            self.forwards.memory = _peak_memory(lambda: self._forward(trainer, pl_module))
        for contender in self.contenders:
            cost = self.costs[contender.name]
            if cost.fault:
                continue
            try:
                measure(trainer, pl_module, cost, contender)
            except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as fault:
                cost.fault = f"{type(fault).__name__}: {fault}"[:150]
                pl_module.train()

    def _tell_ours(self, hook: str, *args: object) -> None:
        for contender in self.contenders:
            if isinstance(contender, Ours):
                getattr(contender.callback, hook)(*args)

    def _forward(self, trainer: Trainer, module: Network) -> tuple[float, float]:
        """Make the forward that all else is compared with; return its seconds and processor seconds."""
        module.eval()
        _settle()
        start, processor = time.perf_counter(), time.process_time()
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            for chunk in self.task.images.split(BATCH):
                module(chunk.to(module.device))
        _settle(collect=False)
        taken = time.perf_counter() - start, time.process_time() - processor
        module.train()
        return taken

    def _look(self, trainer: Trainer, module: Network, cost: Cost, who: "Ours | ByHand") -> None:
        who.look(trainer, module)
        who.finish()

    def _measure_time(self, trainer: Trainer, module: Network, cost: Cost, who: "Ours | ByHand") -> None:
        folder = Path(trainer.default_root_dir)
        before = _bytes_under(folder)
        self._forward(trainer, module)  # behind the contender before
        base, _ = self._forward(trainer, module)
        _settle()
        start = time.perf_counter()
        who.maps(trainer, module)
        _settle(collect=False)
        cost.compute.append((time.perf_counter() - start) / base)
        base, base_processor = self._forward(trainer, module)
        _settle()
        start, processor = time.perf_counter(), time.process_time()
        who.look(trainer, module)
        cost.stall.append((time.perf_counter() - start) / base)
        who.finish()
        cost.processor.append((time.process_time() - processor) / base_processor)
        cost.written.append((_bytes_under(folder) - before) / MB)
        self.forwards.seconds.append(base)
        self.forwards.processor.append(base_processor)

    def _measure_memory(self, trainer: Trainer, module: Network, cost: Cost, who: "Ours | ByHand") -> None:
        peak = _peak_memory(lambda: self._look(trainer, module, cost, who))
        cost.memory.append(peak / self.forwards.memory)


def _settle(collect: bool = True) -> None:
    if collect:
        gc.collect()
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _peak_memory(work: Callable[[], object]) -> float:
    """Bytes that the work needs beyond what was in use: of the GPU, or of the C library's allocator, in all threads.

    The median of three, for a peak shorter than a millisecond may fall between two samples.
    """
    measure = _peak_on_gpu if torch.cuda.is_available() else _peak_sampled
    return statistics.median(measure(work) for _ in range(3))


def _peak_on_gpu(work: Callable[[], object]) -> int:
    _settle()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    return torch.cuda.max_memory_allocated() - before


def _peak_sampled(work: Callable[[], object]) -> int:
    _settle()
    before, over = _allocated(), threading.Event()
    samples = [before]

    def sample() -> None:
        while not over.wait(0.001):
            samples.append(_allocated())

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        work()
    finally:
        over.set()
        sampler.join()
    return max(samples) - before


class _MallInfo(ctypes.Structure):
    """glibc's `struct mallinfo2`: `uordblks` is in use in all arenas, `hblkhd` in mappings of their own."""

    _names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in _names.split()]


_mallinfo = ctypes.CDLL(None).mallinfo2
_mallinfo.restype = _MallInfo


def _allocated() -> int:
    """Bytes in use. Not resident memory: that has freed memory in it, and a system may take pages away meanwhile."""
    found = _mallinfo()
    return found.uordblks + found.hblkhd


def _bytes_under(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("events.*"))


def crops(count: int) -> Tensor:
    """Crops of scikit-learn's two photographs, (N, 3, 224, 224), normalised."""
    photos = [torch.from_numpy(photo.copy()).permute(2, 0, 1) / 255 for photo in load_sample_images().images]
    generator = torch.Generator().manual_seed(0)
    images = []
    for number in range(count):
        photo = photos[number % 2]
        top = int(torch.randint(photo.shape[1] - SIDE, (), generator=generator))
        left = int(torch.randint(photo.shape[2] - SIDE, (), generator=generator))
        images.append(photo[:, top : top + SIDE, left : left + SIDE])
    return (torch.stack(images) - MEAN) / STD


def race(task: Task, kinds: list[type], options: argparse.Namespace) -> Race:
    """Run the contenders in one fit."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        contenders = [kind(task) if issubclass(kind, Ours) else kind(task, Path(folder, kind.name)) for kind in kinds]
        run = Race(task, contenders)
        trainer = Trainer(
            max_epochs=options.repeats + 2,
            accelerator=options.accelerator,
            devices=1,
            precision=options.precision,
            logger=TensorBoardLogger(folder, name="", version="run"),
            default_root_dir=folder,
            callbacks=[run],
            limit_train_batches=1,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        # a batch of 16: a training step needs more memory than a look, as it does in training that is worth a look
        loader = DataLoader(TensorDataset(task.images[:16], task.labels[:16]), 16)
        module = Network(task.model)
        trainer.fit(torch.compile(module) if options.compile else module, loader, loader)
    return run


def report(run: Race, head: str) -> None:
    """Print a row a contender, and the forward's own figures."""
    seconds, processor = statistics.median(run.forwards.seconds), statistics.median(run.forwards.processor)
    tqdm.write(
        f"\n**{head}** (forward: {seconds * 1e3:.3g} ms, {processor:.2g} CPU s, {run.forwards.memory / MB:.0f} MB; "
        f"a twin of the model: {run.twin * 1e3:.3g} ms)\n\n"
        "| | compute | stall | CPU | memory | MB an epoch |\n|---|---|---|---|---|---|"
    )
    for name, cost in run.costs.items():
        if cost.fault:
            tqdm.write(f"| {name} | {cost.fault} | | | | |")
            continue
        columns = (cost.compute, cost.stall, cost.processor, cost.memory, cost.written)
        medians = " | ".join(f"{statistics.median(values):.2f}" for values in columns)
        tqdm.write(f"| {name} | {medians} |")


def tasks(what: str, names: list[str]) -> Iterator[tuple[str, Task]]:
    """What a benchmark consists of, with a heading each."""
    generator = torch.Generator().manual_seed(0)

    def task(name: str, layers: tuple[str, ...], count: int = 16, targets: tuple[int, ...] = ()) -> Task:
        return Task(name, layers, crops(count), torch.randint(CLASSES, (count,), generator=generator), targets)

    blocks = ("layer4", "layer3", "layer2", "layer1")
    if what in ("models", "trust"):
        yield from ((f"{name}, 16 images, {MODELS[name]}", task(name, (MODELS[name],))) for name in names)
    elif what == "tokens":
        yield "vit_b_16, 16 images", task("vit_b_16", (MODELS["vit_b_16"],))
    elif what == "images":
        name = "mobilenet_v3_large"
        counts = (16, 64, 256)
        yield from ((f"{name}, {count} images", task(name, (MODELS[name],), count)) for count in counts)
    elif what == "layers":
        counts = (1, 2, 4)
        yield from ((f"resnet50, {n} of layer4 to layer1", task("resnet50", blocks[:n])) for n in counts)
    elif what == "targets":
        chosen = ((), (1, 10, 100, 500, 900))
        yield from ((f"resnet50, {len(t) or 1} targets", task("resnet50", ("layer4",), targets=t)) for t in chosen)


def report_import(repeats: int) -> None:
    """Print what importing the package takes beyond starting Python, and whether torch comes along."""

    def seconds(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    plain = statistics.median(seconds("pass") for _ in range(repeats))
    ours = statistics.median(seconds("import lightning_gradcam") for _ in range(repeats))
    loaded = subprocess.check_output(
        [sys.executable, "-c", "import sys, lightning_gradcam; print('torch' in sys.modules)"], text=True
    )
    print(f"import lightning_gradcam: {(ours - plain) * 1e3:.1f} ms; torch loaded: {loaded.strip()}")


def machine() -> str:
    """The machine, as the tables name it."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return f"{model}, {os.cpu_count()} cores, {device}; torch {torch.__version__}"


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=CHOICES, metavar="what", help=f"of {', '.join(CHOICES)}; all")
    parser.add_argument("--model", action="append", choices=list(MODELS), help="of 'models' and 'trust'; all four")
    parser.add_argument("--repeats", type=int, default=7, help="epochs that count")
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--all", action="store_true", help="the others also in what is not 'models'")
    options = parser.parse_args()
    if unknown := set(options.what) - set(CHOICES):
        parser.error(f"{', '.join(sorted(unknown))}: accepted are {', '.join(CHOICES)}")
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    print(f"{machine()}; precision {options.precision}{', compiled' if options.compile else ''}")
    alone = [Ours, BareTorch]
    trusted = [Ours, OursTrusted, BareTorch, *([GradCAMWithRoad] if options.all else [])]  # minutes a look
    everybody = [*alone, GradCAMBatch, GradCAMImageByImage, TorchCAM, Captum]
    for what in options.what:
        if what == "import":
            report_import(options.repeats)
        for head, task in tqdm(list(tasks(what, options.model or list(MODELS))), desc=what, disable=what == "import"):
            whole = everybody if what == "models" or options.all else alone
            own = {"trust": trusted, "tokens": [Ours, OursUnconfigured, OursByRelevance, BareTorch, BareBackward]}
            report(race(task, own.get(what, whole), options), head)


if __name__ == "__main__":
    main()
