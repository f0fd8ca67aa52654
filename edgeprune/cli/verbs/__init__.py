"""edgeprune: train, prune, export and measure audio networks that must fit a device."""
