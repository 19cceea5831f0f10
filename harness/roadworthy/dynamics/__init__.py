"""Ego dynamics: the LQR trajectory tracker and the kinematic bicycle it drives."""
