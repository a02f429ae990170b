"""The `skim` command: an HTTP client of the service, and the local stack. Imports none of the other packages."""
