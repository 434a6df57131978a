"""Stage 8: reserve money of an institution from a local lease, and all that moves it later."""
