"""`python -m fer_edge` is `fer-edge`."""

from fer_edge.cli.main import main

if __name__ == "__main__":
    main()
