"""Every record that travels or is signed, one file per family."""
