"""What is happening: NVML, host and job limits, read by one sampler thread."""
