"""fer-edge: facial emotions from camera to label on embedded devices, with a verified int8 path.

Frames come in at `devices`, labels leave at `edge_runtime`; `train`, `calibration` and `convert` make the bundle that
`edge_runtime` runs; `cli` is the front door. Importing this package imports none of them.
"""

__version__ = "0.1.0"
