"""Watch; never decide, never stand on the path."""
