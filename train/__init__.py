"""Data sets, augmentation, the model zoo, fitting and evaluation. Knows no engines and no quantization."""
