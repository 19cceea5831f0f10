"""What the readers share: bounded files and XML, lane geometry, maps put together, egos chosen."""

from __future__ import annotations
