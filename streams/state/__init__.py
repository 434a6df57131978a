"""Stage 4: what is remembered of applicants, lines, loans and offers, in tables taken at start."""
