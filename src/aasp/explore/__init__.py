"""Pages over an index: a map to look at and listen to, and labels by active learning in the browser."""
