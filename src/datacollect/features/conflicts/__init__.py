"""Values that lost against later ones, kept until somebody has decided about them."""
