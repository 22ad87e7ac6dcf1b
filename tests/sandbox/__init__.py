"""The sandbox rail and the adapter that speaks to it."""
