"""The kernels' decays and frequencies on real clips, temporal kernels of any stem, and frequency gradients."""
