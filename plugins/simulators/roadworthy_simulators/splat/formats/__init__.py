"""Files of Gaussians: 3DGS `.ply` (plain and compressed), `.spz`, `.splat`.

Every reader checks each count against the bytes that are there before it makes room for them, and
every failure is a `DataError` that names the file.
"""

from roadworthy_simulators.splat.formats.files import read_gaussians, write_gaussians

__all__ = ["read_gaussians", "write_gaussians"]
