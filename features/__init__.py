"""Turn state and event into numbers."""
