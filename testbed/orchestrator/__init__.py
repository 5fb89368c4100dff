"""From an experiment, a value, to trials, effects."""
