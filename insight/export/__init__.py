"""What ships: slimmed checkpoints and ONNX files, each behind a parity gate."""
