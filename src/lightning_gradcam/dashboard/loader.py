"""TensorBoard's way in; it imports this at every start, so nothing here is slow or can fail."""

import argparse
import logging

from tensorboard.plugins import base_plugin

from lightning_gradcam.logs.schema import PLUGIN

logger = logging.getLogger(__name__)


class AttentionLoader(base_plugin.TBLoader):
    """Loads the tab, or says why not: TensorBoard goes on without it."""

    def fix_flags(self, flags: argparse.Namespace) -> None:
        """Keep every step: attention over the epochs has no use for a random sample of them."""
        if isinstance(getattr(flags, "samples_per_plugin", None), dict):
            flags.samples_per_plugin.setdefault(PLUGIN, 0)

    def load(self, context: base_plugin.TBContext) -> base_plugin.TBPlugin | None:
        """Make the plugin."""
        try:
            from lightning_gradcam.dashboard.plugin import AttentionPlugin

            return AttentionPlugin(context)
        except Exception:
            logger.exception("lightning-gradcam: the Attention tab is missing")
            return None
