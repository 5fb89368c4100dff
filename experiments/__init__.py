"""WHICH runs: values only; importing one has no effect."""
