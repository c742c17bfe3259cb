"""Plain torch modules, one file per family. None knows which task trains it."""
