"""The HTTP interface: routes, bodies of requests and responses, and the status of each error."""
