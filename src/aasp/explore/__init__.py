"""Pages for an index: a map to browse and play, and labelling with active learning in the browser."""
