"""Fine-tuning: training a pre-trained encoder as a classifier, with the training loop of pre-training."""
