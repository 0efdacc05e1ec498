"""The text that Prometheus reads, to the letter."""

from turnwise.tool_servers.metrics import Metrics


def test_text_format() -> None:
    metrics = Metrics({"calls_total": "Calls.", "depth": "Waiting.", "took_seconds": "Time.", "unused": "Nothing yet."})
    metrics.count("calls_total", tool="python", status="ok")
    metrics.count("calls_total", tool="python", status="ok")
    metrics.count("calls_total", tool='a"b\\c\n', status="error")
    metrics.gauge("depth", lambda: 3, gate="calls")
    metrics.observe("took_seconds", 0.003, tool="python")
    metrics.observe("took_seconds", 0.005, tool="python")
    metrics.observe("took_seconds", 99.0, tool="python")
    text = metrics.text()
    assert text.startswith("# HELP calls_total Calls.\n# TYPE calls_total counter\n")
    assert 'calls_total{tool="python",status="ok"} 2\n' in text
    assert 'calls_total{tool="a\\"b\\\\c\\n",status="error"} 1\n' in text
    assert '# TYPE depth gauge\ndepth{gate="calls"} 3\n' in text
    assert "# TYPE took_seconds histogram\n" in text
    assert 'took_seconds_bucket{tool="python",le="0.002"} 0\n' in text
    assert 'took_seconds_bucket{tool="python",le="0.005"} 2\n' in text  # the bound itself is in
    assert 'took_seconds_bucket{tool="python",le="30.0"} 2\n' in text
    assert 'took_seconds_bucket{tool="python",le="+Inf"} 3\n' in text
    assert 'took_seconds_count{tool="python"} 3\n' in text and 'took_seconds_sum{tool="python"} 99.008\n' in text
    assert "unused" not in text and text.endswith("\n")


def test_large_counts_keep_every_digit() -> None:
    metrics = Metrics({"n": "N."})
    metrics.gauge("n", lambda: 12_345_678)
    assert "n 12345678\n" in metrics.text()
