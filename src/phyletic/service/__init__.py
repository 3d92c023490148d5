"""The service: a server through which workers on other machines share studies."""
