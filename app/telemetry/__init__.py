"""What is told of the processes: metrics, logs and traces."""
