"""`edgeprune data`: list, fetch, make, show and verify data sets."""
