"""The one error of this room."""

from __future__ import annotations


class RecordError(Exception):
    """A run directory cannot be read or written as asked; the message names the file or value and the fix."""
