"""The instruments and the verdict of `make seed-walk`; nothing here imports the product."""
