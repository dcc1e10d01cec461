"""What runs inside Flink: the pipeline, the model of a product's folder and the bindings of its sources and outputs."""
