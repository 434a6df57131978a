"""The one writer of control events: ticks and grants, signed, numbered per partition."""
