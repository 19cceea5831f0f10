"""One module per subcommand of `roadworthy`; see `roadworthy.cli`."""
