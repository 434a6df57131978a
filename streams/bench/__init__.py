"""Benchmarks that cannot lie: a small size in the tests, answers checked, a hash of the result."""
