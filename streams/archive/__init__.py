"""What stood on the topics, kept beyond Kafka, and a verdict on whether it holds."""
