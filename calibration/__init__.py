"""Which images calibrate a quantization, and what they say about ranges. Knows no engine's file format."""
