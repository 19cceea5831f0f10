"""What can go wrong in training that the user can mend."""

from __future__ import annotations

from roadworthy.errors import RoadworthyError

__all__ = ["TrainingError"]


class TrainingError(RoadworthyError):
    """Training cannot begin or go on: nothing to learn from, or numbers that teach nothing."""
