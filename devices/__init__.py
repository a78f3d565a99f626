"""What the hardware gives: cameras, the board's identity, its temperature. Knows no models and names no faces."""
