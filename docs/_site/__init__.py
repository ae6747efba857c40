"""What the site is made with beside its pages: generated parts, links, a check of links."""
