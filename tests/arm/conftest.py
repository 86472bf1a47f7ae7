"""Nothing here is a test of pytest's: make test-arm runs it."""

collect_ignore_glob = ["*.py"]
