"""From a request to the answer: the service, its server, and what each envelope is answered."""
