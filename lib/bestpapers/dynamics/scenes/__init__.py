"""How the scenes of `bestpapers.dynamics.worlds` are built and painted: one module a kind, each with `build(rng) -> Scene`."""
