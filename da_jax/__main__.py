from da_jax.commands.dispatch import __doc__, main  # noqa: F401

if __name__ == "__main__":
    main()
