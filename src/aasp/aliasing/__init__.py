"""The aliasing laboratory: stability of encoders, responses of stems, their kernels, and ablations of their parts."""
