"""Bundled metrics of roadworthy."""
