"""The one error of traces."""

from __future__ import annotations


class TraceError(ValueError):
    """The text is not a trace, or not the one that is meant; the message names file, line and column."""
