"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# A loaded machine is slow, not wrong: no deadline per example. A failure prints how to repeat it.
settings.register_profile("podway", deadline=None, print_blob=True)
settings.load_profile("podway")
