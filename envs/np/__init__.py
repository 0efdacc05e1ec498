"""Ten NP-hard problems: propose a solution, read what is wrong with it, improve it. Every task's optimum is known and proven."""
