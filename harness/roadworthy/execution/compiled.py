"""numba's cache of compiled kernels, made to survive what a power cut or a full disk leaves.

An entry that cannot be read counts as absent: the kernel is compiled again and the entry
replaced. numba itself (0.67) would stop with whatever unpickling raises. Import this module
before kernels are called.
"""

from __future__ import annotations

from typing import Any

from numba.core import caching

__all__: list[str] = []

_file: Any = caching.IndexDataCacheFile
_load_index, _load_data = _file._load_index, _file._load_data


def _index_or_nothing(self: Any) -> Any:
    try:
        return _load_index(self)
    except Exception:  # unpickling may raise anything
        return {}


def _data_or_absent(self: Any, name: str) -> Any:
    try:
        return _load_data(self, name)
    except Exception as error:
        raise FileNotFoundError(name) from error  # numba takes this for a miss


_file._load_index = _index_or_nothing
_file._load_data = _data_or_absent
