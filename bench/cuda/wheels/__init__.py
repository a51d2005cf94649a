"""Pack what `bench.cuda` needs in pieces, and install it on a machine without a network."""
