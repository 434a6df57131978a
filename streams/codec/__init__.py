"""Stages 2 and 10: bytes to event rows, and decisions to bytes."""
