"""Models outside PyTorch: export, inference and quantisation."""
