"""Exact mathematics of linear equations, of systems of them, and of the texts that ask for both.

Standard library only: no floats, no input or output, no clock. The rooms `training` and `service`
share this one, so that a question reads the same when a model learns it and when it is served.
"""
