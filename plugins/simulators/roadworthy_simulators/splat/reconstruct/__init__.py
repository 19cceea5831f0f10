"""Reconstruction: Gaussians from images with poses, of one drive or of several past one place.

`reconstruct` does it all; `read_recording`, `Fit`, `run_fit`, `evaluate` and
`write_reconstruction` are its parts.
"""

from roadworthy_simulators.splat.reconstruct.evaluate import evaluate
from roadworthy_simulators.splat.reconstruct.fit import Fit
from roadworthy_simulators.splat.reconstruct.loop import run_fit
from roadworthy_simulators.splat.reconstruct.options import FitOptions
from roadworthy_simulators.splat.reconstruct.readers import read_recording
from roadworthy_simulators.splat.reconstruct.recording import ActorTrack, Recording
from roadworthy_simulators.splat.reconstruct.run import reconstruct
from roadworthy_simulators.splat.reconstruct.scene_out import write_reconstruction

__all__ = [
    "ActorTrack",
    "Fit",
    "FitOptions",
    "Recording",
    "evaluate",
    "read_recording",
    "reconstruct",
    "run_fit",
    "write_reconstruction",
]
