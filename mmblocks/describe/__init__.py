"""Description of the backbones: their names, costs, maps and structure."""
