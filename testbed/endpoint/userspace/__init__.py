"""Our own stack as an endpoint: the applications of ``testbed.endpoint.applications`` over ``testbed.mptcp``.

Sans-IO: the simulator and the driver that is attached to a Linux interface use the same :class:`host.StackHost`.
"""
