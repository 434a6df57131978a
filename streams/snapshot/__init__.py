"""The state of one partition at one offset, kept outside of the process that made it."""
