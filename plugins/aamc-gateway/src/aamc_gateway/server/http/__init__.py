"""HTTP: the application, its routes and endpoints, and the form of answers."""
