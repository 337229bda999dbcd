"""Where kernels look: decays and frequencies of real clips, temporal kernels of any stem, gradients at a distance."""
