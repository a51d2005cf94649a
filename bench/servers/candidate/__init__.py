"""What runs in the servers that are compared with ours, in an environment of their own."""
