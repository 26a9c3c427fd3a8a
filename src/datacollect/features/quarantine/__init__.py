"""Events the hub could not apply, kept until an operator has decided about them."""
