"""Which inference engine samples the rollouts; one back end a file."""
