"""Which class runs which application."""

from __future__ import annotations

from testbed.endpoint.parameters import Bulk
from testbed.endpoint.session import FlowApplication, Session


def make_application(session: Session) -> FlowApplication:
    """The application that the session's configuration names, imported only when it is the one."""
    application = session.configuration.application
    if isinstance(application, Bulk):
        from testbed.endpoint.applications.bulk import BulkTransfer

        return BulkTransfer(session, application)
    raise NotImplementedError(application.kind)
