"""Scenes: a place in Gaussians with its traversals and actors, in memory and in a folder."""
