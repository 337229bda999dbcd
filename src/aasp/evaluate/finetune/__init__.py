"""Fine-tuning: a pre-trained encoder becomes a classifier, by the same loop that pre-trains."""
