"""Where the policy comes from: trained from nothing, or loaded; one way a file."""
