"""What a machine without a network needs for `bench.cuda`, packed in pieces and installed there."""
