"""The doors to Kafka: brokers to start, topics, clients, intake and publishing."""
