"""Registers the bundled metrics."""

from __future__ import annotations

from collections.abc import Mapping

from roadworthy.hookspecs import hookimpl


@hookimpl
def roadworthy_metrics() -> Mapping[str, str]:
    return {
        "pdms": "roadworthy_metrics.pdms:PDMS",
        "epdms": "roadworthy_metrics.epdms:EPDMS",
        "safety": "roadworthy_metrics.safety:Safety",
        "success": "roadworthy_metrics.success:Success",
        "comfort": "roadworthy_metrics.comfort:Comfort",
        "hd-score": "roadworthy_metrics.hd_score:HDScore",
        "camera-validity": "roadworthy_metrics.camera_validity:CameraValidity",
        "neuroncap": "roadworthy_metrics.neuroncap:NeuroNCAP",
    }


@hookimpl
def roadworthy_conformance() -> Mapping[str, str]:
    return {"pdms": "roadworthy_metrics.conformance:check_pdms"}
