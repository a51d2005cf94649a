"""`cybersolve batch`: a file of questions in, the same rows with their answers out, without HTTP.

Every row of the input has a row in the output, in the same order. The engine may be a local one or
a backend of another package (`service.bulk.backends`).
"""
