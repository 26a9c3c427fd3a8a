"""What fields and programs a registry has, so that somebody can map a form to them. Nothing is stored."""
