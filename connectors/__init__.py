"""The edges: Kafka in and out, transactions, snapshots, health and logs. Nothing here knows a feature or a score."""
