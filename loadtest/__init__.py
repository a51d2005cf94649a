"""Load tests of a running service, over HTTP alone; imports nothing of the other rooms."""
