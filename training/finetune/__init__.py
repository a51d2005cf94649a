"""Fine-tuning of T5 checkpoints such as FLAN-T5's: `python -m training finetune --help`."""
