"""What decoding raises."""

from __future__ import annotations


class DecodeError(ValueError):
    """The bytes are not what they were taken for; the message says what is wrong with them."""


class ChecksumError(DecodeError):
    """Well-formed, but damaged on the way."""
