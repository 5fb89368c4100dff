from __future__ import annotations

import sys

import pytest

from testbed.endpoint.parameters import Bulk
from testbed.endpoint.protocol import Configuration, Failure, to_line
from testbed.orchestrator import process
from testbed.orchestrator.endpoint_process import Conversation, EndpointProcess
from testbed.orchestrator.errors import InvalidTrial


def test_an_endpoint_that_dies_after_saying_why_is_quoted() -> None:
    line = to_line(Failure(kind="connect", message="the server refused"))
    configuration = Configuration(role="client", flow="main", remote_address="::1", application=Bulk(), duration_ns=1)
    script = f"import sys; sys.stdout.buffer.write({line!r})"
    with process.start([sys.executable, "-c", script], interactive=True) as child:
        conversation = Conversation()
        conversation.add(EndpointProcess(configuration=configuration, host="client", process=child))
        with pytest.raises(InvalidTrial, match=r"main\.client.*the server refused"):
            conversation.until_results(20, lambda: 0.2)
