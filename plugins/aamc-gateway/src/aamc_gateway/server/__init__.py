"""The server: what a worker is made of (gateway, settings, log watch, limits); its application in ``http``, its processes in ``processes``."""
