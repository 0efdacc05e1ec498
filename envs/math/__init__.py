"""Mathematics with tools and exact grading."""
