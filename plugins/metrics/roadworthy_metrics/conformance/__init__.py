"""`roadworthy conformance pdms DIR`: this package against reference vectors."""

from .check import check_pdms

__all__ = ["check_pdms"]
