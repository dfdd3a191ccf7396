"""What the protocol tests share."""

import sys
from pathlib import Path

# Tests are no package; the folder with what they share has to be told.
sys.path.insert(0, str(Path(__file__).parent))
