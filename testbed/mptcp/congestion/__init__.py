"""Coupled congestion control: one file per algorithm, one line each in :mod:`catalog`."""
