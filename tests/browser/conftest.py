"""The fixtures of tests/browsers.py, for this suite alone: they need Selenium."""

from browsers import browser, chromium, server, shots, site

__all__ = ["browser", "chromium", "server", "shots", "site"]
