"""From words for kernels to what machines are booted from, made on the way when the cache has it not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from testbed.remote.checkout import read_checkout
from testbed.vm import checkout_image, fetching, rootfs, side_by_side, site_packages
from testbed.vm.cache import Cache
from testbed.vm.images import Images
from testbed.vm.kernels import Kernel
from testbed.vm.rootfs import RootFs, Variant

Say = Callable[[str], None]
_ROOT, _SITE, _CHECKOUT, _KERNEL = "root", "site", "checkout", "kernel "


def images_of(cache: Cache, word: str, say: Say, variant: Variant = "minimal") -> Images:
    """The kernel that is called so, the root file system and this checkout, fetched and built when they are not
    there."""
    found = images_of_all(cache, [word], say, variant)[word]
    if isinstance(found, BaseException):
        raise found
    return found


def images_of_all(
    cache: Cache, words: Sequence[str], say: Say, variant: Variant = "minimal"
) -> dict[str, Images | BaseException]:
    """The same for several kernels, all that is missing made side by side; a kernel that cannot be had is its error.

    Raises Unsupported when there is no root file system to be had.
    """
    tasks: dict[str, side_by_side.Task] = {
        _ROOT: lambda tell: rootfs.build_image(cache, tell, variant=variant),
        _SITE: lambda tell: site_packages.build(cache, tell, python=rootfs.PYTHON),
        _CHECKOUT: lambda tell: checkout_image.build(cache, read_checkout(), tell),
    }
    for word in dict.fromkeys(words):
        tasks[_KERNEL + word] = partial(fetching.obtain, cache, word)
    made = side_by_side.carry_out(tasks, say)
    for common in (_ROOT, _SITE, _CHECKOUT):
        if isinstance(made[common], BaseException):
            raise made[common]
    root = RootFs(directory=made[_ROOT], image=made[_ROOT] / rootfs.IMAGE, site=made[_SITE])
    return {word: _images(made[_KERNEL + word], root, made[_CHECKOUT]) for word in words}


def _images(kernel: Kernel | BaseException, root: RootFs, checkout: Path) -> Images | BaseException:
    if isinstance(kernel, BaseException):
        return kernel
    return Images(
        name=kernel.name,
        version=kernel.version,
        kernel=kernel.image,
        root=root.image,
        early=kernel.early,
        in_memory=kernel.takes_memory_disks,
        modules=kernel.modules,
        site=root.site,
        checkout=checkout,
        entries=(kernel.directory, root.directory, root.site_directory, checkout.parent),
    )
