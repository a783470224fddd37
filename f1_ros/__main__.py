"""`python -m f1_ros` is `f1-ros`."""

from f1_ros.cli.main import main

raise SystemExit(main())
