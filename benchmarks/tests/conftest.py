"""Makes the scripts' modules importable, as Python does for a script next to them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
