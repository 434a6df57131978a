"""Turn numbers into a score, a probability of default and a decision."""
