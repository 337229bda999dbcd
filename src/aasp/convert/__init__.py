"""Published checkpoints of others as models of ours: their tensors read, renamed, checked, and nothing of them run."""
