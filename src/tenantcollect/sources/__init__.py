"""Collectors that come with tenantcollect: ordinary plugins, reached through entry points only."""
