"""Find the bundle of a model that is named any way: by a folder or by a name on the hub.

`library.bundle_of` is the way in for `cybersolve serve MODEL`. It converts what is not a bundle yet
once, into a cache, and needs no torch.
"""
