"""The queue, the batching policy, the supervision of engines, and the answers to jobs."""
