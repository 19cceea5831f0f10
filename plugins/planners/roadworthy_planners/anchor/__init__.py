"""The learned planner: a network that scores a vocabulary of trajectory anchors."""

from __future__ import annotations

from .planner import Anchor, Proposals
from .vocabulary import Vocabulary, learn_vocabulary

__all__ = ["Anchor", "Proposals", "Vocabulary", "learn_vocabulary"]
