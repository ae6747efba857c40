"""Published findings, the linear models again, and the posterior beside them."""
