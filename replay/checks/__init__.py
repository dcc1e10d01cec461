"""What tables must hold before readers see them."""
