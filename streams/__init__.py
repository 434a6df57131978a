"""Move and remember: events in, state kept, decisions out."""
