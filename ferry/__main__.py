"""Run `python -m ferry` as `ferry`."""

from ferry.main import main

main()
