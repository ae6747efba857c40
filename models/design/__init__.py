"""From a trial's patients, or their cross-products, to standardised arrays with names."""
