"""Bundled simulators of roadworthy."""
