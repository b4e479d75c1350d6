"""The dashboard: its pages, and the JSON documents under ``/admin`` that they show."""
