"""What becomes of a pure modulation: how much comes through, where it is put, whether its rate can be read."""
