"""What every other part of the package uses: errors, argument checks, probes of layers."""
