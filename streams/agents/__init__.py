"""The slow lane: what follows a decision and may take a second, as Faust agents, at least once."""
