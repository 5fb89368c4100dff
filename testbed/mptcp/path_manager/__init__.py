"""Which subflows are opened: one file per path manager, one line each in :mod:`catalog`."""
