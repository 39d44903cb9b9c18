"""Stage 3: reads the guest and judges its /etc/fstab against the exported disks."""
