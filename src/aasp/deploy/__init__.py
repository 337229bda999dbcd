"""Models outside PyTorch: exported, run, and made smaller."""
