"""Kernels of Debian's archive are chosen and fetched as asked; apt itself is stood in for."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import subprocess
from pathlib import Path

import made_kernel
import pytest

from testbed.orchestrator.errors import CommandFailed, Unsupported
from testbed.orchestrator.spec import SpecificationError
from testbed.vm import apt, debian, fetching, kernels, tools
from testbed.vm.apt import Archive
from testbed.vm.cache import KERNELS, Cache

TARGETS = """\
http://mirror.example/ubuntu/ noble
http://mirror.example/debian/ bookworm
http://mirror.example/s/ bookworm-security
"""
ORDERED = [
    "6.1.176-1~",
    "6.1.176-1",
    "6.1.192-2",
    "6.12.9-1",
    "6.12.117-1~deb12u1",
    "6.12.117-1",
    "7.3.4-1~bpo13+1",
    "1:0",
]


@pytest.mark.parametrize(("low", "high"), [*itertools.pairwise(ORDERED)])
def test_versions_are_ordered_as_debian_does(low: str, high: str) -> None:
    assert debian.version_order(low, high) < 0 < debian.version_order(high, low)
    assert debian.version_order(low, low) == 0
    if shutil.which("dpkg"):
        subprocess.run(["dpkg", "--compare-versions", low, "lt", high], check=True)


def test_the_archive_is_that_of_the_machine_or_of_the_user() -> None:
    assert apt.of_targets(TARGETS) == Archive("http://mirror.example/debian/", "http://mirror.example/s/")
    only_main = apt.of_targets("http://mirror.example/debian trixie")
    assert only_main.security == "http://mirror.example/debian-security/"
    assert apt.archive("http://other.example/debian").main == "http://other.example/debian/"
    with pytest.raises(Unsupported, match="--mirror URL"):
        apt.of_targets("http://mirror.example/ubuntu/ noble\n")
    for bad in ("other.example/debian", "http://x y"):
        with pytest.raises(Unsupported, match="address of a Debian archive"):
            apt.archive(bad)


def test_security_suites_are_asked_of_their_own_archive() -> None:
    text = Archive("http://m/", "http://s/").sources(["trixie", "trixie-security", "trixie-backports"])
    main, security = text.split("\n\n")
    assert "URIs: http://m/\nSuites: trixie trixie-backports\n" in main
    assert "URIs: http://s/\nSuites: trixie-security\n" in security


class FakeApt:
    """tools.run for apt: an archive of made-up packages."""

    def __init__(self, folder: Path) -> None:
        self.calls: list[str] = []
        self.fails = ""
        self.content: dict[str, bytes] = {}
        self.stanzas = ""
        self._real = tools.run
        self._folder = folder
        image = made_kernel.bzimage(made_kernel.compressed("gzip", made_kernel.vmlinux()))
        text = made_kernel.config().encode()
        self.add("linux-image-6.1.0-9-cloud-amd64", "6.1.9-1", {"boot/vmlinuz-x": b"old"}, "kmod")
        self.add("linux-image-6.1.0-10-cloud-amd64", "6.1.10-1", {"boot/vmlinuz-x": image, "boot/y": text}, "kmod")
        self.add("linux-image-6.12.1-cloud-amd64", "6.12.1-1", {"boot/vmlinuz-x": image, "boot/z": text}, "kmod")
        new = "7.3.4+deb13-cloud-amd64"
        parts = f"dracut | x (>= 1), linux-base-{new} (= 7.3.4-1), linux-binary-{new} (= 7.3.4-1)"
        self.add(f"linux-image-{new}", "7.3.4-1", {"usr/share/doc/a": b"-"}, parts)
        self.add(f"linux-base-{new}", "7.3.4-1", {"usr/share/doc/b": b"-"}, "")
        self.add(f"linux-binary-{new}", "7.3.4-1", {f"usr/lib/modules/{new}/vmlinuz": image}, f"linux-base-{new}")
        self.add("linux-image-6.12-cloud-amd64", "9-1", {}, "")  # a metapackage is no kernel

    def add(self, name: str, version: str, files: dict[str, bytes], depends: str) -> None:
        deb = made_kernel.deb(self._folder / f"{name}.deb", files)
        self.content[f"{name}={version}"] = deb.read_bytes()
        sha256 = hashlib.sha256(self.content[f"{name}={version}"]).hexdigest()
        self.stanzas += (
            f"Package: {name}\nVersion: {version}\nDepends: {depends}\nSize: 1000\nSHA256: {sha256}\n more\n\n"
        )

    def __call__(self, name: str, *words: str, **options) -> str:  # type: ignore[no-untyped-def]
        if not name.startswith("apt"):
            return self._real(name, *words, **options)
        line = f"{name} {' '.join(words)}"
        self.calls.append(line)
        if self.fails and self.fails in line:
            raise CommandFailed([name], 100, "W: much\nE: The archive is away\nE: Some index files failed")
        if name == "apt-config":
            return 'Acquire::Retries "7";\nAPT::Update::Post-Invoke "rm -rf everything";\nAcquire::Languages "de";\n'
        if "indextargets" in line:
            return TARGETS
        if "pkgnames" in line:
            return "\n".join(key.split("=")[0] for key in self.content)
        if "show" in line:
            return "\n\n".join(
                x for x in self.stanzas.split("\n\n") if x.split("\n")[0].removeprefix("Package: ") in words
            )
        if "download" in line:
            for word in words[2:]:
                (options["cwd"] / f"{word.replace('=', '_')}.deb").write_bytes(self.content[word])
        return ""


@pytest.fixture(scope="module")
def made_archive(tmp_path_factory: pytest.TempPathFactory) -> FakeApt:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("needs dpkg-deb: a Debian or Ubuntu machine")
    return FakeApt(tmp_path_factory.mktemp("archive"))


@pytest.fixture
def fake(made_archive: FakeApt, monkeypatch: pytest.MonkeyPatch) -> FakeApt:
    made_archive.calls, made_archive.fails = [], ""
    monkeypatch.setattr(tools, "run", made_archive)
    return made_archive


def _quiet(text: str) -> None:
    """Progress is not what these tests look at."""


@pytest.mark.parametrize(
    ("word", "packages"),
    [
        ("6.1", ["linux-image-6.1.0-10-cloud-amd64=6.1.10-1"]),
        ("debian:6.12", ["linux-image-6.12.1-cloud-amd64=6.12.1-1"]),
        ("newest", [f"linux-{part}-7.3.4+deb13-cloud-amd64=7.3.4-1" for part in ("base", "binary", "image")]),
    ],
)
def test_a_series_is_its_highest_version_with_all_parts(
    fake: FakeApt, tmp_path: Path, word: str, packages: list[str]
) -> None:
    kernel = fetching.fetch(Cache(tmp_path), word, _quiet)
    assert kernel.meta["source"] == {"kind": "debian", "packages": packages}
    assert kernel.name == word.removeprefix("debian:")
    calls = len(fake.calls)
    assert fetching.obtain(Cache(tmp_path), word, _quiet).directory == kernel.directory
    assert len(fake.calls) == calls  # a fetched one asks nobody


def test_nothing_is_downloaded_twice_and_young_lists_are_kept(fake: FakeApt, tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    fetching.fetch(cache, "6.1", _quiet)
    assert fetching.fetch(cache, "6.1.10", _quiet, name="mine").name == "mine"
    assert kernels.find(cache, "mine").directory == kernels.find(cache, "6.1.10").directory
    assert [sum(word in call for call in fake.calls) for word in ("update", "download")] == [1, 1]
    fetching.fetch(cache, "6.1", _quiet, refresh=True)
    assert sum("update" in call for call in fake.calls) == 2


def test_the_machines_hooks_do_not_run_for_us_and_its_transport_does(fake: FakeApt, tmp_path: Path) -> None:
    fetching.fetch(Cache(tmp_path), "6.1", _quiet)
    (configuration,) = tmp_path.glob("apt/*/apt.conf")
    text = configuration.read_text()
    assert 'Acquire::Retries "7";' in text and "Post-Invoke" not in text and '"de"' not in text
    assert 'APT::Update::Error-Mode "any";' in text  # else a mirror that is away is no error to apt-get update
    assert 'Dir::Etc::Parts "' in text and configuration.stat().st_mode & 0o777 == 0o600


def test_a_kernel_that_the_archive_has_not_is_told_with_those_that_it_has(fake: FakeApt, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"no kernel 5\.4 .*it has 6\.1, 6\.12, 7\.3$"):
        fetching.fetch(Cache(tmp_path), "5.4", _quiet)
    assert Cache(tmp_path).entries(KERNELS) == []


@pytest.mark.parametrize(
    ("step", "why"), [("update", "lists cannot be fetched: The archive is"), ("download", "6.1.0-10")]
)
def test_an_archive_that_is_away_is_told_in_apts_words(fake: FakeApt, tmp_path: Path, step: str, why: str) -> None:
    fake.fails = step
    with pytest.raises(Unsupported, match=why) as caught:
        fetching.fetch(Cache(tmp_path), "6.1", _quiet)
    assert "The archive is away" in str(caught.value)
    assert Cache(tmp_path).entries(KERNELS) == [] and list((tmp_path / "downloads").glob("*")) == []


@pytest.mark.parametrize(
    ("word", "options", "why"),
    [
        ("six", {}, "is no kernel: write 6.12"),
        ("deb:", {}, "name the packages"),
        ("6.1", {"module_tree": Path("x")}, "are for bzimage:FILE"),
        ("bz:/nonexistent/bzImage", {}, "No such file"),
    ],
)
def test_words_that_mean_no_kernel_are_refused(word: str, options: dict[str, Path], why: str, tmp_path: Path) -> None:
    with pytest.raises(SpecificationError, match=why):
        fetching.fetch(Cache(tmp_path), word, _quiet, **options)
    if not options and ":" not in word:
        with pytest.raises(SpecificationError, match="none yet"):
            fetching.obtain(Cache(tmp_path), word, _quiet)
