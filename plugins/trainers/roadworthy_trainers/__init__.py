"""Bundled trainers: imitation, and offline reinforcement learning on dense rewards."""
