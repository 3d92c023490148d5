"""The client's side of the service: the wire, the channel, and a study whose trials a server decides."""
