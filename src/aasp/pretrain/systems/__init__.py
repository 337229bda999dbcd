"""Published systems as recipes, one file per method.

`…_base` has the paper's settings, as far as we know them; their code was not read. Settings without a source in the
docstring are ours. `…_tiny` has the size, rates and crops of `aasp_tiny`, so that methods are comparable at equal time.
"""
