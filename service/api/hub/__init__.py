"""`POST /` as the hub's inference endpoints take it (huggingface.co/docs/inference-endpoints)."""
