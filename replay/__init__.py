"""The replay controller: build, submit, observe, publish, audit, query."""
