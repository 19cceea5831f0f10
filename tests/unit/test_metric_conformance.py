"""The conformance kit passes for every metric that judges whole rollouts."""

import pytest
from roadworthy.testing import check_metric
from roadworthy_metrics.comfort import Comfort
from roadworthy_metrics.hd_score import HDScore
from roadworthy_metrics.neuroncap import NeuroNCAP
from roadworthy_metrics.safety import Safety
from roadworthy_metrics.success import Success


@pytest.mark.parametrize("factory", [Safety, Success, Comfort, NeuroNCAP, HDScore])
def test_conformance(factory):
    report = check_metric(factory)
    assert report.ok, str(report)
