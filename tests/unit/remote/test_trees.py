"""Trees as tar streams: what goes through comes out equal, and nothing of a hostile stream lands anywhere."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.remote import trees
from testbed.remote.errors import UnsafeTree
from testbed.remote.trees import Entry


def _packed(entries: list[Entry]) -> io.BytesIO:
    stream = io.BytesIO()
    trees.write_tar(entries, stream)
    stream.seek(0)
    return stream


def _content(root: Path) -> dict[bytes, object]:
    """Everything below, as bytes of names."""
    found: dict[bytes, object] = {}
    for path in root.rglob("*"):
        name = os.fsencode(path.relative_to(root))
        if path.is_symlink():
            found[name] = path.readlink()
        else:
            found[name] = "directory" if path.is_dir() else (path.read_bytes(), path.stat().st_mode & 0o777)
    return found


NAMES = st.binary(min_size=1, max_size=40).map(
    lambda raw: os.fsdecode(raw.replace(b"/", b"_").replace(b"\0", b"0").replace(b".", b"dot"))
)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=2000), min_size=1, max_size=5))
def test_any_name_and_content_comes_out_as_it_went_in(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    entries = [Entry(name, content=content, executable=bool(len(content) % 2)) for name, content in files.items()]
    target = tmp_path_factory.mktemp("tree") / "out"

    trees.read_tar(_packed(entries), target)

    assert _content(target) == {
        os.fsencode(name): (content, 0o755 if len(content) % 2 else 0o644) for name, content in files.items()
    }


def test_a_directory_with_links_long_names_and_empty_places_is_the_same_on_the_other_side(tmp_path: Path) -> None:
    source = tmp_path / "source"
    deep = source / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    (deep / ("f" * 200)).write_bytes(b"deep")
    (source / "empty").mkdir()
    (source / "-rf $(id) 'q' \n").write_bytes(b"odd")
    (source / "link").symlink_to("empty")
    (deep / "up").symlink_to("../../link")
    target = tmp_path / "target"

    trees.read_tar(_packed(list(trees.entries_of(source))), target)

    assert _content(target) == _content(source)


def test_a_link_that_leads_out_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "secret").symlink_to("../../etc/passwd")

    with pytest.raises(UnsafeTree, match="outside"):
        list(trees.entries_of(tmp_path / "source"))


def _file(name: str, content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    return header, content


def _special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, target
    return header, b""


def _huge() -> tuple[tarfile.TarInfo, bytes]:
    header = tarfile.TarInfo("huge")
    header.size = 1 << 60
    return header, b"little"


HOSTILE: dict[str, tuple[str, list[tuple[tarfile.TarInfo, bytes]]]] = {
    "absolute name": ("would land outside", [_file("/etc/outside")]),
    "dots": ("would land outside", [_file("a/../../outside")]),
    "absolute link": ("leads out", [_special("l", tarfile.SYMTYPE, "/etc/passwd")]),
    "absolute link inside": ("leads out", [_special("l", tarfile.SYMTYPE, "HERE/first")]),
    "link out": ("leads out", [_special("l", tarfile.SYMTYPE, "../outside")]),
    "link chain out": (
        "leads out",
        [
            _special("d", tarfile.DIRTYPE),
            _special("d/l1", tarfile.SYMTYPE, ".."),
            _special("l2", tarfile.SYMTYPE, "d/l1/.."),
        ],
    ),
    "link through itself": ("leads out", [_special("l", tarfile.SYMTYPE, "l/../../outside")]),
    "hard link": ("is neither a plain file", [_special("h", tarfile.LNKTYPE, "first")]),
    "device": ("is neither a plain file", [_special("null", tarfile.CHRTYPE)]),
    "pipe": ("is neither a plain file", [_special("pipe", tarfile.FIFOTYPE)]),
    "sparse": ("is neither a plain file", [_special("holes", tarfile.GNUTYPE_SPARSE)]),
    "twice": ("came twice", [_file("a"), _file("a")]),
    "link over a file": ("came twice", [_file("a"), _special("a", tarfile.SYMTYPE, "b")]),
    "two links": ("came twice", [_special("a", tarfile.SYMTYPE, "b"), _special("a", tarfile.SYMTYPE, "c")]),
    "larger than the disk": ("more than there is room for", [_huge()]),
}


@pytest.mark.parametrize(("said", "members"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_stream_is_refused_whole(
    tmp_path: Path, said: str, members: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    stream = io.BytesIO()
    place = tmp_path / "place"
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(*_with_content(_file("first")))
        for header, content in members:
            header.linkname = header.linkname.replace("HERE", str(place / "tree"))
            stream.write(header.tobuf(tarfile.GNU_FORMAT))
            stream.write(content.ljust(-len(content) // 512 * -512, b"\0"))
            tar.offset = stream.tell()
    stream.seek(0)

    with pytest.raises(UnsafeTree, match=said):
        trees.read_tar(stream, place / "tree")

    assert list(place.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["place"]


def _with_content(member: tuple[tarfile.TarInfo, bytes]) -> tuple[tarfile.TarInfo, io.BytesIO]:
    return member[0], io.BytesIO(member[1])


def test_a_file_through_a_link_of_the_stream_cannot_be_written(tmp_path: Path) -> None:
    """The link is made last, so the file lands in a directory of that name, and the two collide."""
    (tmp_path / "victim").mkdir()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.addfile(_special("d", tarfile.SYMTYPE, "../../victim")[0])
        tar.addfile(*_with_content(_file("d/file")))
    stream.seek(0)

    with pytest.raises(UnsafeTree):
        trees.read_tar(stream, tmp_path / "place" / "tree")

    assert list((tmp_path / "victim").iterdir()) == []
    assert list((tmp_path / "place").iterdir()) == []


@pytest.mark.parametrize(
    "cut", [lambda data: data[:700], lambda data: data[: len(data) // 2 - 100], lambda data: b"junk"]
)
def test_half_a_stream_leaves_nothing(tmp_path: Path, cut: Callable[[bytes], bytes]) -> None:
    data = _packed([Entry("a", content=b"x" * 3000), Entry("b", content=b"y" * 30_000)]).getvalue()

    with pytest.raises(UnsafeTree, match="half of one"):
        trees.read_tar(io.BytesIO(cut(data)), tmp_path / "place" / "tree")

    assert list((tmp_path / "place").iterdir()) == []
