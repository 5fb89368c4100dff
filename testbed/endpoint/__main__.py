"""``python -m testbed.endpoint``: see testbed/endpoint/process.py and docs/endpoints.md."""

from __future__ import annotations

import sys

from testbed.endpoint.process import main

sys.exit(main())
