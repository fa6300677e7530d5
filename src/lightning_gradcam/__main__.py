"""`python -m lightning_gradcam` is the command `lightning-gradcam`."""

import sys

from lightning_gradcam.command import main

if __name__ == "__main__":
    sys.exit(main())
