"""The response to a pure modulation: its gain, its alias frequency, and whether its rate can be decoded."""
