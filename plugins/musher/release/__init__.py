"""What decides about a release: plans, comparisons and verdicts, as pure functions of what was measured."""
