"""ECS and OSS on loopback, for the demo and the tests; nothing that runs in production imports it."""
