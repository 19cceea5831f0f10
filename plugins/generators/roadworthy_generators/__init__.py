"""Generators that ship with roadworthy."""
