"""From the word for a kernel to what a machine is booted from, made on the way when the cache has it not."""

from __future__ import annotations

from collections.abc import Callable

from testbed.vm import fetching, rootfs
from testbed.vm.cache import Cache
from testbed.vm.images import Images


def images_of(cache: Cache, word: str, say: Callable[[str], None]) -> Images:
    """The kernel that is called so and the root file system, fetched and built when they are not there."""
    kernel, root = fetching.obtain(cache, word, say), rootfs.build(cache, say)
    return Images(
        name=kernel.name,
        version=kernel.version,
        kernel=kernel.image,
        root=root.image,
        early=kernel.early,
        modules=kernel.modules,
        site=root.site,
        entries=(kernel.directory, root.directory, root.site_directory),
    )
