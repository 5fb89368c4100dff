"""Client x server x test between implementations: what each test asks, who can be asked, and the whole as a value."""

from __future__ import annotations

from experiments.interop.experiment import DEFAULT_IMPLEMENTATIONS, NothingToAskError, build, chosen_tests, interop
from experiments.interop.implementations import Implementation, implementation
from experiments.interop.measurements import MEASUREMENTS
from experiments.interop.tests import TESTS

__all__ = [
    "DEFAULT_IMPLEMENTATIONS",
    "MEASUREMENTS",
    "TESTS",
    "Implementation",
    "NothingToAskError",
    "build",
    "chosen_tests",
    "implementation",
    "interop",
]
