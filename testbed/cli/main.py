"""The commands by name. Each is a file of its own that imports what it needs when it is called, so ``--help`` is quick.

Exit codes: 0 all valid and met; 1 an expectation failed; 2 usage or specification error; 3 something was INVALID, or
could not be stored; 4 nothing could run here (UNSUPPORTED); 130 interrupted.
"""

from __future__ import annotations

import typer

from testbed.cli.adapter import adapter
from testbed.cli.analyze import analyze
from testbed.cli.build import build
from testbed.cli.claims import claims
from testbed.cli.clean import clean
from testbed.cli.compare import compare
from testbed.cli.doctor import doctor
from testbed.cli.endpoint import endpoint
from testbed.cli.list_names import list_names
from testbed.cli.matrix import matrix
from testbed.cli.nightly import nightly
from testbed.cli.options import options
from testbed.cli.report import report
from testbed.cli.run import run
from testbed.cli.show import show
from testbed.cli.vm import vm

app = typer.Typer(
    name="testbed",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help="Multipath TCP experiments: real kernels, emulated paths, exact impairments, reproducible reports.",
    epilog="First steps: 'testbed doctor', 'testbed list', 'testbed show two_path', 'sudo testbed run quickstart'.",
)
app.command("run")(run)
app.command("list")(list_names)
app.command("show")(show)
app.command("matrix")(matrix)
app.command("report")(report)
app.command("compare")(compare)
app.command("claims")(claims)
app.command("nightly")(nightly)
app.command("analyze")(analyze)
app.command("options")(options)
app.command("doctor")(doctor)
app.command("clean")(clean)
app.command("build")(build)
app.add_typer(endpoint, name="endpoint")
app.add_typer(adapter, name="adapter")
app.add_typer(vm, name="vm")


def main() -> None:
    """The entry point of the script ``testbed``."""
    app(prog_name="testbed")
