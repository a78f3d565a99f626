"""Keras model to float and int8 TFLite, ONNX and OpenVINO; the bundle writer; the judgement. Knows no cameras."""
