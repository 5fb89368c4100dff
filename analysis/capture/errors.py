"""What reading a capture raises."""

from __future__ import annotations


class CaptureError(ValueError):
    """The file cannot be read as a capture; the message is one line that names the file and says what it is."""
