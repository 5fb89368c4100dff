"""What of a working tree is sent: the files that git tracks as they stand, and nothing else."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from testbed.orchestrator.environment import SHIPPED
from testbed.orchestrator.errors import Unsupported
from testbed.remote.checkout import Checkout, read_checkout
from testbed.remote.errors import UnsafeTree


def _git(root: Path, *words: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", str(root), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    _git(root, "init", "-q")
    (root / "requirements.lock").write_text("a==1\n")
    (root / "tb").write_text("#!/bin/sh\n")
    (root / "tb").chmod(0o755)
    (root / "odd \udcff\n").write_text("odd")
    (root / "link").symlink_to("tb")
    _git(root, "add", ".")
    _git(root, "commit", "-qm", "first")
    return root


def _sent(checkout: Checkout) -> dict[str, object]:
    return {entry.name: entry.link or entry.content for entry in checkout.entries if entry.name != SHIPPED}


def _source(checkout: Checkout) -> dict[str, object]:
    document = next(entry.content for entry in checkout.entries if entry.name == SHIPPED)
    assert isinstance(document, bytes)
    source: dict[str, object] = json.loads(document)
    return source


def test_tracked_files_are_sent_with_changes_and_others_stay(tree: Path) -> None:
    (tree / "secret.env").write_text("not tracked")
    clean = read_checkout(tree)
    (tree / ".git" / "info" / "exclude").write_text("*.env\n")
    assert (clean.untracked, read_checkout(tree).untracked) == (("secret.env",), ())
    (tree / "tb").write_text("#!/bin/sh\nexit 1\n")
    dirty = read_checkout(tree)

    assert set(_sent(clean)) == {"requirements.lock", "tb", "odd \udcff\n", "link"}
    assert not clean.dirty
    assert _source(clean)["dirty"] is False
    assert dirty.dirty
    assert _source(dirty)["dirty"] is True
    assert _sent(dirty)["tb"] == b"#!/bin/sh\nexit 1\n"
    assert clean.digest != dirty.digest
    assert clean.environment == dirty.environment


def test_a_deleted_file_is_not_sent_and_a_new_one_is_when_it_was_added(tree: Path) -> None:
    (tree / "link").unlink()
    (tree / "new.py").write_text("new")
    _git(tree, "add", "new.py")

    assert set(_sent(read_checkout(tree))) == {"requirements.lock", "tb", "odd \udcff\n", "new.py"}


def test_the_digest_is_of_the_content_and_the_commit(tree: Path) -> None:
    first = read_checkout(tree)
    again = read_checkout(tree)
    (tree / "tb").chmod(0o644)
    other_mode = read_checkout(tree)
    (tree / "tb").chmod(0o755)
    _git(tree, "commit", "-q", "--allow-empty", "-m", "second")
    other_commit = read_checkout(tree)

    assert first.digest == again.digest
    assert len({first.digest, other_mode.digest, other_commit.digest}) == 3
    assert _source(first)["tree"] == _source(other_commit)["tree"]


def test_other_dependencies_are_another_environment(tree: Path) -> None:
    before = read_checkout(tree).environment
    (tree / "requirements.lock").write_text("a==2\n")

    assert read_checkout(tree).environment != before


def test_a_tracked_link_out_of_the_tree_is_refused(tree: Path) -> None:
    (tree / "out").symlink_to("/etc/passwd")
    _git(tree, "add", "out")

    with pytest.raises(UnsafeTree, match="outside"):
        read_checkout(tree)


def test_what_is_no_git_checkout_cannot_be_sent(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="exactly the files that git tracks"):
        read_checkout(tmp_path)
