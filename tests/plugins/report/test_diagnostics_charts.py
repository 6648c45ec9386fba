"""The curves of a training job."""

import re

import pytest
from musher.record import DiagnosedJob
from musher.report import diagnostics_charts


@pytest.mark.parametrize("gradients", [(0.0021, 0.0034, 0.0028), (1e-9, 1e-5, 0.1)])
def test_gradients_have_a_scale_however_many_powers_of_ten_they_span(gradients):
    steps = [
        {"step": step, "epoch": 1, "loss": 1.0 / step, "gradient_mean": each, "update_ratio": each}
        for step, each in zip((1, 3, 10), gradients, strict=True)
    ]
    job = DiagnosedJob(
        job="j", step="train-one", status="Completed", attempt=1, instances=1, instance_type="ml.m5.xlarge", steps=steps
    )

    drawn = diagnostics_charts.curves(job)

    written = [each.replace("\N{MINUS SIGN}", "-") for each in re.findall(r"<text[^>]*>([^<]*)</text>", drawn)]
    numbers = [float(each) for each in written if re.fullmatch(r"\d[\d.e+-]*", each)]
    # Those of the losses, which share the drawing, are above 0.1.
    assert len([each for each in numbers if 0.4 * min(gradients) <= each <= 2.5 * max(gradients) and each < 0.1]) >= 2
