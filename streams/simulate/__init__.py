"""A population of people and firms whose true risk is known: it applies, borrows, shops, pays and
defaults.

One engine, `world.World`, feeds the demo (closed loop: it reacts to decisions) and writes event
files with labels (open loop). It has no clock: the caller passes the time in.
"""
