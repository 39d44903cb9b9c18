"""Stage 4: turns RAW disks into the images the other side runs, and proves them equal."""
