"""What benchmarks of the sources against the compiled modules share: whether there are any, and a profile."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable


def can_be_compiled() -> bool:
    """Builds if necessary; says why not."""
    from testbed.compilation.build import BuildError, build

    try:
        build()
    except BuildError as error:
        print(f"the sources only: {error}")
        return False
    return True


def profile(run: Callable[[], object]) -> None:
    """Call ``run`` once; print what it returns, and where the time goes."""
    profiler = cProfile.Profile()
    profiler.enable()
    result = run()
    profiler.disable()
    print(result)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(45)
