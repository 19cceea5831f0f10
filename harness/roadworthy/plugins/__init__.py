"""Plugins: found by entry points, kept apart where they are broken, made from names and options."""

from __future__ import annotations

from roadworthy.plugins.discovery import Registry, registry
from roadworthy.plugins.entry import KINDS, BrokenPlugin, Entry, Plugin
from roadworthy.plugins.factory import FactorySpec
from roadworthy.plugins.observers import Observers, PluginWarning

__all__ = [
    "KINDS",
    "BrokenPlugin",
    "Entry",
    "FactorySpec",
    "Observers",
    "Plugin",
    "PluginWarning",
    "Registry",
    "registry",
]
