"""A web app that embeds tenantcollect."""
