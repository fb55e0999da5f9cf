"""Batch jobs: what is worked out beside the flows, from files. They import the operators, and no Kafka."""
