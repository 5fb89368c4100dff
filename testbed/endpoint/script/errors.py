"""What is wrong with a script."""

from __future__ import annotations


class ScriptError(ValueError):
    """A line cannot be understood, or not be carried out; the message names the line and what could be there."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
