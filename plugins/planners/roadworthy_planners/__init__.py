"""Bundled planners of roadworthy."""
