"""Bundled sources of roadworthy."""
