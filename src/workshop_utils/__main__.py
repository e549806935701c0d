"""``python -m workshop_utils`` is the ``workshop`` command."""

import sys

from workshop_utils.cli import main

sys.exit(main())
