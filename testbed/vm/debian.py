"""Kernels of Debian's archive: those for virtual machines (linux-image-*-cloud-amd64), chosen by series.

Source: Debian Policy 5.6.12 (the order of versions); the packages of Debian 12 and 13 (up to 6.12 one package holds
kernel and modules, 7.x has linux-binary, linux-modules and linux-base beside it).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from functools import cmp_to_key

from testbed.orchestrator.errors import Unsupported
from testbed.vm import kernels
from testbed.vm.apt import RELEASES, Apt, Package, archive
from testbed.vm.cache import DOWNLOADS, KERNELS, Cache
from testbed.vm.kernels import Kernel, Say

NEWEST = "newest"
SERIES = re.compile(r"\d+\.\d+(\.\d+)?$")
_IMAGE = re.compile(r"linux-image-\d+\.\d+\.[^/\s]*-cloud-amd64$")
_PARTS = re.compile(r"linux-(image|binary|modules|base)-\d")
_QUICK = (*(f"{release}-security" for release in RELEASES), f"{RELEASES[0]}-backports")
"""Lists of 1 MB, where the kernels of both releases and the newest are as a rule."""
_ALL = (*_QUICK, *RELEASES, *(f"{release}-updates" for release in RELEASES))
"""20 MB more."""


def fetch(cache: Cache, word: str, say: Say, *, mirror: str | None = None, refresh: bool = False) -> Kernel:
    """The kernel of a series (6.1), of a version (6.12.117) or the newest, as an entry of the cache.

    Raises Unsupported when the archive has none, or cannot be reached.
    """
    where = archive(mirror)
    known: list[str] = []
    for suites in (_QUICK, _ALL):
        apt = Apt(cache, where, suites)
        if apt.refresh(force=refresh):
            say(f"package lists of Debian ({', '.join(suites)})")
        images = apt.show(*(name for name in apt.names("linux-image-") if _IMAGE.match(name)))
        if (image := choose(images, word)) is not None:
            return _made(cache, apt, needed(image, apt), word, say)
        known = sorted({_series(package) for package in images}, key=lambda series: [*map(int, series.split("."))])
    raise Unsupported(
        f"Debian's archive has no kernel {word} for virtual machines; it has {', '.join(known) or 'none'}"
    )


def choose(images: Sequence[Package], word: str) -> Package | None:
    """The highest version of those that are meant."""
    meant = [package for package in images if word == NEWEST or f"{_upstream(package)}.".startswith(f"{word}.")]
    return max(meant, key=lambda package: version_key(package.version), default=None)


def needed(image: Package, apt: Apt) -> list[Package]:
    """The image and what of the kernel is in other packages, of the same version."""
    found, names = {image.name: image}, [*image.depends]
    while names:
        name = names.pop()
        if name in found or not _PARTS.match(name):
            continue
        same = [package for package in apt.show(name) if package.version == image.version]
        if not same:
            raise Unsupported(f"{image}: the archive has no {name} of this version; try again with --refresh")
        found[name] = same[0]
        names += same[0].depends
    return sorted(found.values(), key=lambda package: package.name)


def version_order(one: str, other: str) -> int:
    """Negative, 0 or positive, as Debian orders versions."""
    for left, right in zip(_split(one), _split(other), strict=True):
        if order := _part_order(left, right):
            return order
    return 0


version_key = cmp_to_key(version_order)


# --- inside ---


def _made(cache: Cache, apt: Apt, packages: list[Package], word: str, say: Say) -> Kernel:
    digest = kernels.entry_digest([package.sha256 for package in packages])
    if cache.find(KERNELS, digest) is not None:
        return kernels.named(cache, word, digest)
    size = sum(package.size_bytes for package in packages) / 1e6
    say(f"downloading {', '.join(str(package) for package in packages)} ({size:.0f} MB)")
    source = {"kind": "debian", "packages": [str(package) for package in packages]}
    with cache.exclusive(f"{DOWNLOADS}-{digest}"):
        if cache.find(KERNELS, digest) is not None:  # somebody else fetched it while we waited
            return kernels.named(cache, word, digest)
        folder = cache.scratch(DOWNLOADS) / digest
        folder.mkdir(exist_ok=True)
        try:
            return kernels.from_debs(cache, apt.download(packages, folder), word, source, say)
        finally:
            shutil.rmtree(folder)


def _upstream(package: Package) -> str:
    return package.version.rpartition("-")[0] or package.version


def _series(package: Package) -> str:
    return ".".join(_upstream(package).split(".")[:2])


def _split(version: str) -> tuple[str, str, str]:
    """Epoch, upstream version, revision; what is absent is as 0."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, hyphen, revision = rest.rpartition("-")
    return (epoch, upstream, revision) if hyphen else (epoch, rest, "0")


def _part_order(one: str, other: str) -> int:
    """Alternately what is no digit (letters first, ~ before everything, even the end), and numbers by value."""
    while one or other:
        text, other_text = re.match(r"\D*", one), re.match(r"\D*", other)
        assert text is not None and other_text is not None
        left, right = _weights(text[0]), _weights(other_text[0])
        if left != right:
            return -1 if left < right else 1
        one, other = one[text.end() :], other[other_text.end() :]
        number, other_number = re.match(r"\d*", one), re.match(r"\d*", other)
        assert number is not None and other_number is not None
        if difference := int(number[0] or 0) - int(other_number[0] or 0):
            return difference
        one, other = one[number.end() :], other[other_number.end() :]
    return 0


def _weights(text: str) -> list[int]:
    """The end counts 0."""
    return [*(-1 if sign == "~" else ord(sign) if sign.isalpha() else ord(sign) + 256 for sign in text), 0]
