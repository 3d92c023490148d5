"""The service: a server that decides for studies, and whose workers are on other machines."""
