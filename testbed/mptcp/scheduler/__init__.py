"""Which subflow the next bytes take: one file per scheduler, one line each in :mod:`catalog`."""
