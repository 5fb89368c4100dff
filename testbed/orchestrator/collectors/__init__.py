"""What is observed during a trial, each sample with its source."""
