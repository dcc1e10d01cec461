"""What Flink's compiled plan says of a product's SQL."""
