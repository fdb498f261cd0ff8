"""`python -m clip_unlearn` is `clip-unlearn`."""

from clip_unlearn.cli import main

if __name__ == "__main__":
    main()
