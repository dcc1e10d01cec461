"""An edited product over a part of the real log, into nothing that readers see."""
