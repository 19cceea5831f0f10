"""Imports what is not there."""

import acme_engine_that_nobody_has  # noqa: F401
