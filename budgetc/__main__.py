"""`python -m budgetc`."""

from budgetc.cli.main import main

raise SystemExit(main())
