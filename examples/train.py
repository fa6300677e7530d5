"""Train one of the examples and watch where it looks: python examples/train.py fit --config configs/digits.yaml."""

from pytorch_lightning import LightningDataModule
from pytorch_lightning.cli import LightningCLI
from pytorch_lightning.loggers import TensorBoardLogger

import models


def fit(args: list[str] | None = None) -> LightningCLI:
    """Run LightningCLI, on the command line's arguments or on others."""
    return LightningCLI(
        models.Classifier,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_kwargs={"overwrite": True},
        args=args,
    )


def main() -> None:
    """Train, then say how to look at the result."""
    cli = fit()
    folders = [logger.save_dir for logger in cli.trainer.loggers if isinstance(logger, TensorBoardLogger)]
    if folders and cli.trainer.is_global_zero:
        # all runs, beside each other; TensorBoard keeps ten pictures a tag unless it is told to keep more
        print(f"\nSee where it looked:\n  tensorboard --logdir {folders[0]} --samples_per_plugin images=1000")


if __name__ == "__main__":
    main()
