"""`cybersolve batch`: answer a file of questions without HTTP and write its rows with the answers.

Every row of the input has a row in the output, in the same order. The engine may be a local one or
a backend of another package (`service.bulk.backends`).
"""
