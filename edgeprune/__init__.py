"""edgeprune: train, prune, export and measure audio networks that must fit a device."""

__version__ = "0.1.0"
