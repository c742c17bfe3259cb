"""``python -m nodebench`` is ``nodebench``."""

from nodebench.cli import main

if __name__ == "__main__":
    main()
