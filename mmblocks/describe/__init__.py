"""Description of the backbones: their names, costs, outputs and structure."""
