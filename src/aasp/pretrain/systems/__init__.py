"""Systems of the field as recipes, a file each beside the method of the same name.

`…_base` is what the paper has, as far as it is known to us; no code of theirs was read. What its docstring does not
give a source for is ours. `…_tiny` has the size, rates and crops of `aasp_tiny`, so that methods compare at equal time.
"""
