"""3D Gaussian Splatting: scenes of Gaussians, rendered on a CPU or with CUDA.

`render.render` gives images of a `Gaussians` set, `autograd.rasterize` is the same as a torch
function with gradients, `formats` reads and writes the usual formats, and `lenses` bends a pinhole
image into that of a distorted lens.
"""

from roadworthy_simulators.splat.cameras import Cameras, Rendering, RenderOptions
from roadworthy_simulators.splat.gaussians import Gaussians, concatenate
from roadworthy_simulators.splat.render import render

__all__ = ["Cameras", "Gaussians", "RenderOptions", "Rendering", "concatenate", "render"]
