"""`no_grid.py contactapi.py serve …`: that server, but its answers to a publishable key
leave when they are ready: else nobody could see what a visitor's post costs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(sys.argv.pop(1)).parent))
import contactapi  # noqa: E402 - found by the line above

contactapi.GRID = 0
sys.exit(contactapi.main())
