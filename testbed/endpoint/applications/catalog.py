"""Which class runs which application."""

from __future__ import annotations

from testbed.endpoint.parameters import Bulk, RequestResponse, Script, ShortFlows, Stream
from testbed.endpoint.session import FlowApplication, Session


def make_application(session: Session) -> FlowApplication:
    """The application that the session's configuration names; only its module is imported."""
    application = session.configuration.application
    if isinstance(application, Bulk):
        from testbed.endpoint.applications.bulk import BulkTransfer

        return BulkTransfer(session, application)
    if isinstance(application, RequestResponse):
        from testbed.endpoint.applications.request_response import Exchanges

        return Exchanges(session, application)
    if isinstance(application, Stream):
        from testbed.endpoint.applications.stream import ConstantRate

        return ConstantRate(session, application)
    if isinstance(application, ShortFlows):
        from testbed.endpoint.applications.short_flows import ManyShortFlows

        return ManyShortFlows(session, application)
    if isinstance(application, Script):
        from testbed.endpoint.applications.scripted import ScriptedSide, ScriptPartner

        scripted = session.configuration.endpoint.is_script
        return ScriptedSide(session, application) if scripted else ScriptPartner(session, application)
    from testbed.endpoint.applications.program import UnmodifiedProgram

    return UnmodifiedProgram(session, application)
