"""Plain torch modules, one file per family. Models do not depend on tasks."""
