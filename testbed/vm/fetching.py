"""Kernels by the words that users type: ``6.12``, ``newest``, ``deb:FILE,FILE``, ``bzimage:FILE``."""

from __future__ import annotations

from pathlib import Path

from testbed.orchestrator.spec import SpecificationError
from testbed.vm import debian, kernels
from testbed.vm.cache import Cache
from testbed.vm.kernels import Kernel, Say

FORMS = "6.12, newest, debian:6.12, deb:FILE,FILE or bzimage:FILE"


def obtain(cache: Cache, word: str, say: Say) -> Kernel:
    """A kernel that was fetched already, else fetch it. Raises SpecificationError for a word that means none."""
    if word.startswith(("deb:", "bz:", "bzimage:")):
        return fetch(cache, word, say)
    try:
        return kernels.find(cache, word)
    except SpecificationError:
        if not _is_debian(word):
            raise
    return fetch(cache, word, say)


def fetch(
    cache: Cache,
    word: str,
    say: Say,
    *,
    name: str | None = None,
    module_tree: Path | None = None,
    config: Path | None = None,
    mirror: str | None = None,
    refresh: bool = False,
) -> Kernel:
    """Get it, from the archive or files; nothing is done twice for the same content."""
    kind, colon, rest = word.partition(":")
    bzimage = bool(colon) and kind in {"bz", "bzimage"}
    if (module_tree is not None or config is not None) and not bzimage:
        raise SpecificationError(f"{word}: --modules and --config are for bzimage:FILE; packages hold theirs")
    if bzimage:
        return kernels.from_bzimage(cache, Path(rest), name, say, module_tree=module_tree, config=config)
    if colon and kind == "deb":
        debs = [Path(part) for part in rest.split(",") if part]
        if not debs:
            raise SpecificationError(f"{word}: name the packages: deb:linux-image-VERSION.deb")
        return kernels.from_debs(cache, debs, name, {"kind": "deb"}, say)
    if not _is_debian(word):
        raise SpecificationError(f"{word!r} is no kernel: write {FORMS}")
    fetched = debian.fetch(cache, word.removeprefix("debian:"), say, mirror=mirror, refresh=refresh)
    return fetched if name is None else kernels.named(cache, name, fetched.directory.name)


def _is_debian(word: str) -> bool:
    series = word.removeprefix("debian:")
    return series == debian.NEWEST or debian.SERIES.match(series) is not None
