"""Where a topology becomes real."""
