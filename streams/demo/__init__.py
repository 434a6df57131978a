"""The demo: a simulated population, a broker, control and workers, and what one sees of them."""
