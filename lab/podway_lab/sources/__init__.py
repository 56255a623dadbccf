"""The repository's template, functions and scenarios, as data of this package. `lab` and `__main__` ask.

In the repository this folder holds links to them; in a wheel it holds copies, since setuptools follows links.
So a checkout, an editable install and a wheel find them in one way, and no build step has to put them there.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

FOLDER = Path(str(files(__name__)))
"""What the paths in the template start from. A path, since pip unpacks what it installs."""
TEMPLATE = FOLDER / "template.yaml"
DEMO = FOLDER / "scenarios" / "demo.scenario"
