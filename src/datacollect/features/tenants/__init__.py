"""Programs: what a tenant is, how one is uploaded, and the files that bring it onto a device."""
