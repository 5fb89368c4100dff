"""What a run leaves behind: columns with units and meaning, and the directory that holds them."""
