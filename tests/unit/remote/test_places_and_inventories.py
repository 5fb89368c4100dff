"""Which machine is meant: the words of --backend, hosts.toml, ssh_config; and what is said when they are wrong."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest
import ssh_server
from hypothesis import given
from hypothesis import strategies as st

from testbed.orchestrator.errors import Unsupported
from testbed.orchestrator.spec import SpecificationError
from testbed.remote import inventory
from testbed.remote.place import Elsewhere, Place, parse_backend

CONFIGURED = Path(".config") / "mptcp-testbed" / "hosts.toml"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, and nothing in the current directory."""
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    (tmp_path / "home" / CONFIGURED).parent.mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ssh:lab", Elsewhere("ssh:lab", "ssh", Place("lab"), "mininet")),
        ("ssh:lab/sim", Elsewhere("ssh:lab/sim", "ssh", Place("lab"), "sim")),
        ("ssh:me@a.b:22/mininet", Elsewhere("ssh:me@a.b:22/mininet", "ssh", Place("a.b", "me", 22), "mininet")),
        ("ssh:[::1]:22", Elsewhere("ssh:[::1]:22", "ssh", Place("::1", None, 22), "mininet")),
        ("vagrant", Elsewhere("vagrant", "vagrant", None, "mininet")),
        ("vagrant/sim", Elsewhere("vagrant/sim", "vagrant", None, "sim")),
        ("vagrant:k612/sim", Elsewhere("vagrant:k612/sim", "vagrant", Place("k612"), "sim")),
    ],
)  # fmt: skip
def test_a_backend_says_which_machine_and_what_runs_there(text: str, expected: Elsewhere) -> None:
    assert parse_backend(text) == expected


@pytest.mark.parametrize(
    ("text", "kernels", "there"),
    [
        ("vm:6.12", ("6.12",), "mininet"),
        ("vm:newest/sim", ("newest",), "sim"),
        ("vm:6.1+6.12", ("6.1", "6.12"), "mininet"),
        ("vm:arch/x86/boot/bzImage", ("bzimage:arch/x86/boot/bzImage",), "mininet"),
        ("vm:/a+b/bzImage/sim", ("bzimage:/a+b/bzImage",), "sim"),
        ("vm:bz:vmlinuz-6.1+", ("bz:vmlinuz-6.1+",), "mininet"),
        ("vm:deb:linux-image_6.1-1+b1_amd64.deb", ("deb:linux-image_6.1-1+b1_amd64.deb",), "mininet"),
    ],
)
def test_a_plus_is_between_two_kernels_and_a_file_s_own(text: str, kernels: tuple[str, ...], there: str) -> None:
    where = parse_backend(text)
    assert (where.kind, where.kernels, where.backend) == ("vm", kernels, there)


@pytest.mark.parametrize(
    "text",
    [
        *("vm:", "vm:6.1+", "vm:+6.1", "vm:6.1+6.12+7.3", "vm:6.1+6.12/sim"),
        *("ssh", "ssh:", "ssh:-oProxyCommand=x", "ssh:a b", "ssh:$(id)", "ssh:;id", "ssh:\nlab", "ssh:a@b@c"),
        *("ssh:lab:0", "ssh:lab:70000", "ssh:lab/vm", "vagrant:-h", "vagrant:a;b", "vagrant:k1/vm"),
    ],
)
def test_what_is_no_machine_is_refused_before_anything_is_done(text: str) -> None:
    with pytest.raises(SpecificationError, match="--backend"):
        parse_backend(text)


@given(st.text(alphabet="ab-.$;`'\"\\ \n/:@[]", max_size=12))
def test_no_accepted_name_means_anything_to_a_shell_or_looks_like_an_option(text: str) -> None:
    try:
        where = parse_backend(f"ssh:{text}")
    except SpecificationError:
        return
    assert where.place is not None
    for word in (where.place.host, where.place.user or "x"):
        assert not word.startswith("-")
        assert not set(word) & set("$;`'\"\\ \n/@")


def test_a_machine_of_the_inventory_has_what_the_file_says_and_the_command_line_outranks_it(home: Path) -> None:
    host_key = ssh_server.new_key(home / "k")
    (home / CONFIGURED).write_text(
        f'[hosts.lab]\nhostname = "192.0.2.7"\nport = 2200\nuser = "me"\nkey = "~/.ssh/lab"\nhost_key = "{host_key}"\n'
        'clock = "virtual"\ndirectory = "/var/tmp/tb"\njump = "you@gate:24"\n'
    )

    found = inventory.resolve("lab")
    changed = inventory.resolve("lab", user="root", port=22)

    assert (found.host, found.port, found.user, found.key) == ("192.0.2.7", 2200, "me", home / ".ssh" / "lab")
    assert (found.host_key, found.clock, found.directory) == (host_key, "virtual", "/var/tmp/tb")
    assert found.jump is not None
    assert str(found.jump) == "you@gate:24"
    assert str(changed) == "root@192.0.2.7:22"


def test_the_file_beside_comes_before_the_users_own_and_the_next_one_serves_other_names(home: Path) -> None:
    (home / CONFIGURED).write_text('[hosts.lab]\nhostname = "far"\n[hosts.other]\nhostname = "elsewhere"\n')
    Path("hosts.toml").write_text('[hosts.lab]\nhostname = "near"\n')

    assert inventory.resolve("lab").host == "near"
    assert inventory.resolve("other").host == "elsewhere"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[hosts.lab]\nprot = 22\n", "hosts.lab.prot: there is no such key; the keys are hostname, port, user, key"),
        ('[hosts.lab]\nport = "22"\n', "hosts.lab.port: Input should be a valid integer"),
        ("[hosts.lab]\nport = 0\n", "hosts.lab.port: Input should be greater than or equal to 1"),
        ('[hosts.lab]\npassword = "x"\n', "hosts.lab.password: passwords do not belong into files: use a key"),
        ('[lab]\nport = 22\n', "hosts: Field required"),
        ('hosts = {}\n[lab]\nport = 22\n', "lab: there is no such key; machines are tables [hosts.NAME]"),
        ('[hosts.lab]\nhost_key = "SHA256:abc"\n', "hosts.lab.host_key: it is two words as in a .pub file"),
        ('[hosts.lab]\nhost_key = "ssh-ed25519 AAA!"\n', "hosts.lab.host_key: its second word is no base64"),
        ('[hosts.lab]\nhost_key = "ssh-rsa AAAAC3NzaC1lZDI1NTE5"\n', "its content is not of the type ssh-rsa"),
        ('[hosts.lab]\ndirectory = "relative"\n', "hosts.lab.directory: String should match pattern"),
        ('[hosts.lab\n', "is no TOML"),
    ],
)  # fmt: skip
def test_a_wrong_inventory_names_file_key_and_fix(text: str, said: str) -> None:
    Path("hosts.toml").write_text(text)

    with pytest.raises(SpecificationError) as caught:
        inventory.resolve("lab")

    assert str(caught.value).startswith("hosts.toml: ")
    assert said in str(caught.value)


def test_jumps_in_a_circle_are_told() -> None:
    Path("hosts.toml").write_text('[hosts.a]\njump = "b"\n[hosts.b]\njump = "a"\n')

    with pytest.raises(SpecificationError, match="in a circle"):
        inventory.resolve("a")


def test_ssh_config_serves_names_that_no_inventory_has(home: Path) -> None:
    (home / ".ssh" / "id_lab").touch()
    (home / ".ssh" / "config").write_text(
        "Host lab\n  HostName 192.0.2.9\n  Port 2022\n  User you\n  IdentityFile ~/.ssh/none\n"
        "  IdentityFile ~/.ssh/id_lab\n  ProxyJump me@gate:23\n"
    )

    found = inventory.resolve("lab")
    unknown = inventory.resolve("192.0.2.10")

    assert str(found) == "you@192.0.2.9:2022"
    assert found.key == home / ".ssh" / "id_lab"
    assert found.host_key is None
    assert str(found.jump) == "me@gate:23"
    assert (str(unknown), unknown.key, unknown.jump) == (f"{getpass.getuser()}@192.0.2.10:22", None, None)


def test_a_proxy_command_is_not_followed_and_the_way_out_is_told(home: Path) -> None:
    (home / ".ssh" / "config").write_text("Host lab\n  ProxyCommand nc %h %p\n")

    with pytest.raises(Unsupported, match="ProxyJump"):
        inventory.resolve("lab")
