"""`python -m saltus` is `saltus`."""

from saltus.cli.main import main

main()
