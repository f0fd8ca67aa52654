"""`edgeprune data`: list, fetch, make and verify data sets."""
