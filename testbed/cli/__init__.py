"""The command line: one file per subcommand; commands translate, the work is elsewhere."""
