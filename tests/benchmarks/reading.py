"""How fast a log is read back: `python tests/benchmarks/reading.py`, in a process of its own that imports no torch.

A run of smooth random maps, as `tab.py` has it; and the same with a JPEG of noise beside each look, as the Images tab
has a grid, which a reader has to pass over.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

from PIL import Image
from torch.utils.tensorboard import SummaryWriter

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.benchmarks.tab import write
from tests.dashboard.test_plugin import LAYER

from lightning_gradcam.logs.events import Events
from lightning_gradcam.logs.schema import grid_tag
from lightning_gradcam.pictures.render import to_jpeg

READ = """
import sys, time
start = time.perf_counter()
from lightning_gradcam import read_log
imported = time.perf_counter()
log = read_log(sys.argv[1])
found = time.perf_counter()
log.maps, log.numbers, log.scores, log.answers, log.pictures
done = time.perf_counter()
assert "torch" not in sys.modules
print(f"imported in {imported - start:.2f} s, read in {found - imported:.2f} s, unpacked in {done - found:.2f} s")
print(log)
"""


def write_pictures(folder: Path, count: int, size: int) -> None:
    """Write pictures of some bytes each into a run, in a file of their own."""
    sink = SimpleNamespace(experiment=SummaryWriter(str(folder)))
    events, side = Events([sink], Path()), 64
    while len(encoded := to_jpeg(Image.effect_noise((side, side), 60).convert("RGB"))) < size:
        side += 64
    for step in range(count):  # the same one: to encode takes longer than to write
        events._write_encoded(grid_tag(LAYER), encoded, (side, side), step)
    sink.experiment.close()


def drop(folder: Path) -> None:
    """Let the files be read from the disk again."""
    for file in folder.rglob("*tfevents*"):
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("images", 64), ("epochs", 500), ("side", 14), ("picture", 300_000)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "run")
        write(folder, options.images, options.epochs, options.side)
        for what in ("without pictures", "with pictures"):
            size = sum(file.stat().st_size for file in folder.glob("*tfevents*")) / 1e6
            for state in ("cold", "warm"):
                if state == "cold":
                    drop(folder)
                print(f"{what}, {size:.0f} MB, {state}:", flush=True)
                subprocess.run([sys.executable, "-c", READ, str(folder)], check=True)
            write_pictures(folder, options.epochs, options.picture)


if __name__ == "__main__":
    main()
