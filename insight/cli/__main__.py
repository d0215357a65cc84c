"""``python -m insight.cli`` is ``insight``."""

import sys

from . import main

sys.exit(main())
