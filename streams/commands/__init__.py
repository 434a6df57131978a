"""The commands of `dipper`, one module each.

A module here has a function `register(app)` that adds its command, or its group of commands, to
the application. The command line imports all of them for `dipper --help`: what is slow to import
(kernels, clients, frames) is imported inside the command.
"""
