"""CONFIG.PY -> OPTIONS: the configuration file of InsightFace's train.py, and our options of a training run.

The file is Python: five tables (``config``, ``network``, ``dataset``, ``loss``, ``default``) and the function
``generate_config`` that joins them. Sources: sample_config.py and train.py of recognition/arcface_mxnet,
deepinsight/insightface@7fadd420, and their versions in recognition/ and recognition/ArcFace since @f9500496.
"""
