"""Are the tokens of a rollout dump sound? Masks, ids, stop tokens and log-probabilities, of our dumps and of other trainers'."""

from turnwise.trainers.audit.report import Finding, Report, audit

__all__ = ["Finding", "Report", "audit"]
