"""A run on many processes and machines: Ray actors for rollouts, engines and learners, replaced when they die."""
