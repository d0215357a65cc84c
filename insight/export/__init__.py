"""Export for deployment: slimmed checkpoints, ONNX, OpenVINO and ncnn files, each checked by a parity gate."""
