"""A model fine-tuned, served and asked on one machine with a GPU, by one command."""
