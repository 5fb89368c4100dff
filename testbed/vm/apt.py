"""Debian's archive as this machine reaches it, with lists of our own: the system's are neither needed nor touched.

Mirror, proxies and keys are those of the machine's apt (or of ``--mirror``); suites that it has not configured are
asked for all the same.

Source: apt.conf(5) (APT_CONFIG is read first and can name other parts; hooks of the system must not run for us),
sources.list(5) (deb822), apt-get(8) (indextargets, download).
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.orchestrator.errors import CommandFailed, NotReady, Unsupported
from testbed.vm import tools
from testbed.vm.cache import LISTS, Cache

RELEASES = ("trixie", "bookworm")
"""Debian 13 and 12, whose kernels and programs machines are made of."""
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LISTS_AGE_S = 6 * 3600.0
"""Older lists are fetched anew: the archive drops packages that a security update replaced."""
UPDATE_S, DOWNLOAD_S, ASK_S = 300.0, 900.0, 60.0
_OWN = ("Acquire::IndexTargets", "Acquire::Languages", "Acquire::Changelogs", "Acquire::CompressionTypes")
"""apt's own defaults, or what our lists do without."""


@dataclass(frozen=True, slots=True)
class Archive:
    """Where Debian is had from."""

    main: str
    security: str

    def sources(self, suites: Sequence[str]) -> str:
        """These suites in the form of a .sources file."""
        signed = f"Signed-By: {KEYRING}\n" if KEYRING.is_file() else ""
        stanzas = []
        for address, security in ((self.main, False), (self.security, True)):
            chosen = [suite for suite in suites if suite.endswith("-security") == security]
            if chosen:
                suites_line = f"Suites: {' '.join(chosen)}"
                stanzas.append(f"Types: deb\nURIs: {address}\n{suites_line}\nComponents: main\n{signed}")
        return "\n".join(stanzas)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One version of a package in the archive."""

    name: str
    version: str
    sha256: str
    size_bytes: int
    depends: tuple[str, ...]
    """Names alone; of alternatives the first."""

    def __str__(self) -> str:
        return f"{self.name}={self.version}"


def archive(mirror: str | None = None) -> Archive:
    """The machine's, or that of ``mirror``. Raises Unsupported when it knows none."""
    if mirror is not None:
        if "://" not in mirror or any(character.isspace() for character in mirror):
            raise Unsupported(f"--mirror {mirror}: it is the address of a Debian archive, with http:// in front")
        return Archive(f"{mirror.rstrip('/')}/", f"{mirror.rstrip('/')}-security/")
    said = tools.run(
        "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages", deadline_s=ASK_S
    )
    return of_targets(said)


def of_targets(said: str) -> Archive:
    """From lines of address and suite, as ``apt-get indextargets`` gives them. Raises Unsupported."""
    main = security = None
    for line in said.splitlines():
        address, _space, suite = line.partition(" ")
        if suite.split("-")[0].split("/")[0] in {
            *RELEASES,
            "bullseye",
            "forky",
            "sid",
            "stable",
            "oldstable",
            "testing",
        }:
            if "security" in suite:
                security = security or address
            else:
                main = main or address
    if main is None:
        raise Unsupported("this machine's apt knows no archive of Debian; name one: --mirror URL (as in sources.list)")
    return Archive(main, security or f"{main.rstrip('/')}-security/")


def transport() -> str:
    """How the machine's apt reaches any archive (proxies, retries, certificates), as lines of a configuration."""
    lines = tools.run("apt-config", "dump", deadline_s=ASK_S).splitlines()
    return "".join(f"{line}\n" for line in lines if line.startswith("Acquire::") and not line.startswith(_OWN))


class Apt:
    """apt with lists of its own for some suites."""

    def __init__(self, cache: Cache, where: Archive, suites: Sequence[str]) -> None:
        self._cache = cache
        self._sources = where.sources(suites)
        name = hashlib.sha256(self._sources.encode()).hexdigest()[:16]
        self.directory = cache.scratch(LISTS) / name
        self._name = f"{LISTS}-{name}"

    def refresh(self, *, force: bool = False) -> bool:
        """Fetch the lists unless they are young; returns whether it did. Raises Unsupported with apt's words."""
        with self._cache.exclusive(self._name):
            stamp = self.directory / "fetched"
            if not force and stamp.is_file() and 0 <= time.time() - stamp.stat().st_mtime < LISTS_AGE_S:
                return False
            self._configure()
            try:
                self._apt("apt-get", "-qq", "update", deadline_s=UPDATE_S)
            except (CommandFailed, NotReady) as error:
                raise Unsupported(f"Debian's package lists cannot be fetched: {_why(error)}") from None
            stamp.touch()
            return True

    def names(self, prefix: str) -> list[str]:
        """Names of packages that begin so."""
        return sorted(self._apt("apt-cache", "pkgnames", prefix).split())

    def show(self, *names: str) -> list[Package]:
        """All versions of these packages."""
        return packages(self._apt("apt-cache", "show", *names)) if names else []

    def download(self, wanted: Sequence[Package], to: Path) -> list[Path]:
        """Fetch them into ``to``, checked by apt against the signed lists. Raises Unsupported with apt's words."""
        try:
            self._apt("apt-get", "-q", "download", *(str(package) for package in wanted), deadline_s=DOWNLOAD_S, cwd=to)
        except (CommandFailed, NotReady) as error:
            raise Unsupported(f"{', '.join(package.name for package in wanted)}: {_why(error)}") from None
        return sorted(to.glob("*.deb"))

    # --- inside ---

    def _apt(self, program: str, *words: str, deadline_s: float = ASK_S, cwd: Path | None = None) -> str:
        settings = {"APT_CONFIG": str(self.directory / "apt.conf"), "LC_ALL": "C.UTF-8"}
        return tools.run(program, *words, deadline_s=deadline_s, cwd=cwd, environment=settings)

    def _configure(self) -> None:
        for name in ("lists/partial", "cache/archives/partial", "parts"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        (self.directory / "status").touch()
        (self.directory / "debian.sources").write_text(self._sources)
        lines = transport().splitlines()
        here = self.directory
        own = {
            "Dir::Etc::Parts": here / "parts",
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::SourceList": here / "debian.sources",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::State::Lists": here / "lists",
            "Dir::State::status": here / "status",
            "Dir::Cache": here / "cache",
            "Acquire::Languages": "none",
            "APT::Architecture": "amd64",
            "APT::Sandbox::User": "",
            "APT::Update::Error-Mode": "any",  # a mirror that cannot be reached is only a warning otherwise
        }
        lines += [f'{key} "{value}";' for key, value in own.items()]
        descriptor = os.open(here / "apt.conf", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # proxies have passwords
        with os.fdopen(descriptor, "w") as file:
            file.write("\n".join([*lines, 'APT::Architectures { "amd64"; };', ""]))


def packages(text: str) -> list[Package]:
    """What ``apt-cache show`` prints: stanzas of fields."""
    found = []
    for stanza in text.split("\n\n"):
        lines = (line.partition(": ") for line in stanza.splitlines() if not line.startswith((" ", "\t")))
        fields = {key: value for key, _colon, value in lines}
        if {"Package", "Version", "SHA256", "Size"} <= fields.keys():
            depends = (
                part.strip().split(maxsplit=1)[0] for part in fields.get("Depends", "").split(",") if part.strip()
            )
            found.append(
                Package(
                    name=fields["Package"],
                    version=fields["Version"],
                    sha256=fields["SHA256"],
                    size_bytes=int(fields["Size"]),
                    depends=tuple(depends),
                )
            )
    return found


def _why(error: CommandFailed | NotReady) -> str:
    """apt's first error; the last line only says that there was one."""
    if isinstance(error, NotReady):
        return str(error)
    lines = [line.removeprefix("E: ") for line in error.stderr.splitlines() if line.startswith(("E:", "Err:"))]
    keys = any("NO_PUBKEY" in line or "no pubkey" in line.lower() for line in error.stderr.splitlines())
    hint = " (apt install debian-archive-keyring)" if keys else ""
    return (lines[0] if lines else str(error)) + hint
