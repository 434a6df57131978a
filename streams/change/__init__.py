"""The life of a version: proposed, checked, replayed, signed by a second person, published."""
