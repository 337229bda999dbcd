"""The aliasing laboratory: how stable encoders are, how stems respond, where kernels look, what each part brings."""
