"""Published checkpoints of others as our models: tensors are read, renamed and checked; none of their code is run."""
