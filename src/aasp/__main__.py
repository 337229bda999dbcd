"""`python -m aasp` is `aasp`."""

from __future__ import annotations

import sys

from aasp.cli.main import main

sys.exit(main())
