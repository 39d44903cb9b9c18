"""Stage 1: asks ECS to export a custom image to OSS, and finds which objects hold which disk."""
