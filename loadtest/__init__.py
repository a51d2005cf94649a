"""Load tests of a running service over HTTP; imports no other room."""
